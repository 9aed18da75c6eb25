// SPDX-License-Identifier: GPL-2.0-only
//! The first pass: where every inode and every shared xattr goes.

use std::collections::HashSet;

use anyhow::{anyhow, Result};

use crate::image::inode::Shape;
use crate::image::order::Order;
use crate::image::{BLOCK_SIZE, INODES_START, SLOT_SIZE};
use crate::tree::{NodeId, Time, Tree, ROOT};
use crate::xattr::XattrId;

/// Most xattrs of one inode that are references to shared ones.
const REFERENCES_MAX: usize = 128;

/// Marks an xattr that is not shared. Never a position: positions end at 2^30.
const NOT_SHARED: u32 = u32::MAX;

const ACLS: [&[u8]; 2] = [b"system.posix_acl_access", b"system.posix_acl_default"];

/// Where everything is.
pub(super) struct Layout {
    /// Slot of each node's inode; 0 for hard links, which have none.
    slots: Vec<u32>,
    /// The rare inodes whose tail had to go to a block of its own.
    spilled: HashSet<NodeId>,
    /// Position of each xattr of the pool in the shared area, in units of four bytes.
    positions: Vec<u32>,
    /// The xattrs of the shared area, in order.
    pub shared: Vec<XattrId>,
    /// Size of the shared area.
    pub shared_size: u64,
    /// Where the inodes end, and the shared area begins.
    pub inodes_end: u64,
    /// Data blocks after it.
    pub data_blocks: u64,
    /// The earliest modification time, which compact inodes need not state.
    pub build_time: Time,
    /// Whether any file has an ACL.
    pub has_acl: bool,
}

impl Layout {
    /// # Errors
    /// If the metadata takes more than 128 GiB.
    pub fn new(tree: &Tree, order: &Order) -> Result<Self> {
        let times = order.inodes.iter().map(|&id| tree.node(id).meta.mtime);
        let mut layout = Self {
            slots: vec![0; tree.len()],
            spilled: HashSet::new(),
            positions: Vec::new(),
            shared: Vec::new(),
            shared_size: 0,
            inodes_end: 0,
            data_blocks: 0,
            build_time: times.min().unwrap_or_default(),
            has_acl: false,
        };
        layout.share_xattrs(tree, order);
        layout.place_inodes(tree, order)?;
        Ok(layout)
    }

    /// The EROFS number of a node's inode: its slot, counted from the start of its first block.
    pub fn nid(&self, id: NodeId) -> u64 {
        u64::from(self.slots[id as usize])
    }

    /// Where a node's inode starts.
    pub fn start(&self, id: NodeId) -> u64 {
        self.nid(id) * SLOT_SIZE
    }

    /// The shape of an inode, as it was placed.
    pub fn shape(&self, tree: &Tree, order: &Order, id: NodeId) -> Shape {
        let mut shape = Shape::of(tree, order, self, id);
        if self.spilled.contains(&id) {
            shape.spill_tail();
        }
        shape
    }

    /// The xattrs of a node, each with its position in the shared area if it is to refer to that.
    pub fn xattrs<'a>(
        &'a self,
        tree: &'a Tree,
        id: NodeId,
    ) -> impl Iterator<Item = (XattrId, Option<u32>)> + 'a {
        let mut references = 0;
        tree.xattrs(id).iter().map(move |&xattr| {
            let position = Some(self.positions[xattr as usize])
                .filter(|&position| position != NOT_SHARED && references < REFERENCES_MAX);
            references += usize::from(position.is_some());
            (xattr, position)
        })
    }

    /// Finds what several inodes have. The order of the shared area is by descending name, then
    /// descending length of the value, then descending value.
    fn share_xattrs(&mut self, tree: &Tree, order: &Order) {
        let (pool, bytes) = (&tree.pool, &tree.bytes);
        let mut uses = vec![0_u8; pool.len()];
        for &id in &order.inodes {
            for &xattr in tree.xattrs(id) {
                let uses = &mut uses[xattr as usize];
                *uses = uses.saturating_add(1);
            }
        }
        self.positions = vec![NOT_SHARED; pool.len()];
        for (id, &uses) in (0..).zip(&uses) {
            self.has_acl |= uses > 0 && ACLS.contains(&pool.name(bytes, id));
            if uses > 1 {
                self.shared.push(id);
            }
        }
        let key = |&id: &XattrId| {
            let value = pool.value(bytes, id);
            (pool.name(bytes, id), value.len(), value)
        };
        self.shared.sort_unstable_by(|a, b| key(b).cmp(&key(a)));
        for &id in &self.shared {
            self.positions[id as usize] = (self.shared_size / 4) as u32;
            self.shared_size += pool.stored_size(id) as u64;
        }
    }

    fn place_inodes(&mut self, tree: &Tree, order: &Order) -> Result<()> {
        let mut end = INODES_START;
        for &id in &order.inodes {
            let mut shape = Shape::of(tree, order, self, id);
            let (start, spills) = shape.place(end);
            if spills {
                self.spilled.insert(id);
                shape.spill_tail();
            }
            self.slots[id as usize] = u32::try_from(start / SLOT_SIZE)
                .map_err(|_| anyhow!("the metadata takes more than 128 GiB"))?;
            self.data_blocks += u64::from(shape.blocks);
            end = start + shape.inode_size() + shape.tail;
        }
        self.inodes_end = end.next_multiple_of(SLOT_SIZE);
        // The superblock has 16 bits for it; only xattrs of 32 KiB and more could push the root
        // inode that far, and it is the first.
        if self.slots[ROOT as usize] > u32::from(u16::MAX) {
            return Err(anyhow!("the root inode lies too far into the image"));
        }
        Ok(())
    }

    /// Where the data blocks begin.
    pub fn data_start(&self) -> u64 {
        (self.inodes_end + self.shared_size).next_multiple_of(BLOCK_SIZE)
    }
}
