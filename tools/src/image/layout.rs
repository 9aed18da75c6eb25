// SPDX-License-Identifier: GPL-2.0-only
//! The first pass: where every inode goes.

use anyhow::{anyhow, Context, Result};
use composefs_format::disk::{superblock, xattr, BLOCK_SIZE, SLOT_SIZE};

use crate::image::order::Order;
use crate::image::shape::Shape;
use crate::image::sharing::Sharing;
use crate::quote;
use crate::tree::{NodeId, Time, Tree, ROOT};
use crate::version::Version;

/// Where everything is.
pub(super) struct Layout {
    /// Slot of each node's inode; 0 for hard links, which have none.
    slots: Vec<u32>,
    /// The shapes of the inodes, in their order.
    pub shapes: Vec<Shape>,
    /// Where the inodes end, and the shared xattrs begin.
    pub inodes_end: u64,
    /// Where the shared xattrs end, and the data blocks begin.
    pub data_start: u64,
    /// How many data blocks there are.
    pub data_blocks: u64,
    /// The earliest modification time, which compact inodes need not state; 0 if there are none.
    pub build_time: Time,
}

impl Layout {
    /// # Errors
    /// If the metadata takes more than 128 GiB, 16 in version 2; or if what has to be behind an inode
    /// does not fit there.
    pub fn new(tree: &Tree, order: &Order, sharing: &Sharing, version: Version) -> Result<Self> {
        let times = order.inodes.iter().map(|&id| tree.node(id).meta.mtime);
        let build_time = times.min().filter(|_| !version.is_rs()).unwrap_or_default();
        let mut slots = vec![0; tree.len()];
        let mut shapes = Vec::with_capacity(order.inodes.len());
        let mut data_blocks = 0;
        let mut end = superblock::END;
        for &id in &order.inodes {
            let mut shape = Shape::of(version, tree, sharing, build_time, id);
            let start = if version.is_rs() {
                let start = shape.place_rs(tree.is_external(id), end);
                start.with_context(|| quote::bytes(&tree.path(id)).to_string())?
            } else {
                let (start, spills) = shape.place(&tree.node(id).meta, end);
                if spills {
                    shape.spill_tail();
                }
                start
            };
            slots[id as usize] = u32::try_from(start / SLOT_SIZE)
                .map_err(|_| anyhow!("the metadata takes more than 128 GiB"))?;
            data_blocks += u64::from(shape.blocks);
            end = start + shape.inode_size() + shape.tail();
            shapes.push(shape);
        }
        // The superblock has 16 bits for it; only xattrs of 32 KiB and more could push the root
        // inode that far, and it is the first.
        if slots[ROOT as usize] > u32::from(u16::MAX) {
            return Err(anyhow!("the root inode lies too far into the image"));
        }
        let inodes_end = end.next_multiple_of(SLOT_SIZE);
        // Version 2 counts from the start of the image.
        let units = (inodes_end + sharing.size) / xattr::ALIGNMENT as u64;
        if version.is_rs() && !sharing.shared.is_empty() && u32::try_from(units).is_err() {
            return Err(anyhow!("the metadata takes more than 16 GiB"));
        }
        Ok(Self {
            slots,
            shapes,
            inodes_end,
            data_start: (inodes_end + sharing.size).next_multiple_of(BLOCK_SIZE),
            data_blocks,
            build_time,
        })
    }

    /// The EROFS number of a node's inode: its slot.
    pub fn nid(&self, id: NodeId) -> u64 {
        u64::from(self.slots[id as usize])
    }

    /// Where a node's inode starts.
    pub fn start(&self, id: NodeId) -> u64 {
        self.nid(id) * SLOT_SIZE
    }

    /// The nodes that have inodes, with their shapes.
    pub fn inodes<'a>(&'a self, order: &'a Order) -> impl Iterator<Item = (NodeId, &'a Shape)> {
        order.inodes.iter().copied().zip(&self.shapes)
    }
}
