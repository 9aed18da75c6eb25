// SPDX-License-Identifier: GPL-2.0-only
//! Directory data: blocks of entry headers followed by their names.

use anyhow::Result;
use composefs_format::disk::dirent::{self, at};
use composefs_format::disk::BLOCK_SIZE;

use crate::image::order::Order;
use crate::image::shape::TAIL_MAX;
use crate::image::sink::Sink;
use crate::structure::Structure;
use crate::tree::{NodeId, Tree};

/// Gives every directory the size of its data, and the link count that comes of what is in it.
pub(super) fn measure(tree: &mut Tree, order: &Order) {
    for &id in &order.inodes {
        if !tree.node(id).meta.is_dir() {
            continue;
        }
        let mut size = 0;
        for block in blocks(tree, order, id) {
            size = u64::next_multiple_of(size, BLOCK_SIZE) + block.size;
        }
        // A longer one becomes a whole block.
        if size % BLOCK_SIZE > TAIL_MAX {
            size = size.next_multiple_of(BLOCK_SIZE);
        }
        let nlink = 2 + order.subdirs(tree, id) as u32;
        let meta = tree.meta_mut(id);
        meta.size = size;
        meta.nlink = nlink;
    }
}

/// The blocks of a directory, each with as many entries as it has room for.
pub(super) struct Blocks<'a> {
    tree: &'a Tree,
    dir: NodeId,
    /// The entries that are left.
    rest: &'a [NodeId],
}

/// The entries of one block.
pub(super) struct Block<'a> {
    tree: &'a Tree,
    dir: NodeId,
    entries: &'a [NodeId],
    /// Size in bytes.
    pub size: u64,
}

/// The blocks of the directory `dir`; there is at least one.
pub(super) fn blocks<'a>(tree: &'a Tree, order: &'a Order, dir: NodeId) -> Blocks<'a> {
    Blocks {
        tree,
        dir,
        rest: order.entries(dir),
    }
}

impl<'a> Iterator for Blocks<'a> {
    type Item = Block<'a>;

    fn next(&mut self) -> Option<Block<'a>> {
        let Self { tree, dir, rest } = *self;
        let (mut count, mut size) = (0, 0);
        for &id in rest {
            let with = size + (dirent::SIZE + Order::name(tree, id).len()) as u64;
            if with > BLOCK_SIZE {
                break;
            }
            count += 1;
            size = with;
        }
        let (entries, rest) = rest.split_at(count);
        self.rest = rest;
        (count > 0).then_some(Block {
            tree,
            dir,
            entries,
            size,
        })
    }
}

impl Block<'_> {
    /// Writes the block, less what pads it. `nid` tells the number of a node's inode.
    pub fn write(&self, nid: impl Fn(NodeId) -> u64, sink: &mut Sink) -> Result<()> {
        let name = |&id: &NodeId| Order::name(self.tree, id);
        let mut name_offset = dirent::SIZE * self.entries.len();
        for id in self.entries {
            let target = Order::target(self.tree, self.dir, *id);
            let mut header = Structure::<{ dirent::SIZE }>::new();
            header
                .put(at::NID, nid(target))
                .put(at::NAME, name_offset as u16)
                .put(
                    at::FILE_TYPE,
                    self.tree.node(target).meta.file_type.dirent(),
                );
            sink.write(header.as_bytes())?;
            name_offset += name(id).len();
        }
        self.entries.iter().try_for_each(|id| sink.write(name(id)))
    }
}
