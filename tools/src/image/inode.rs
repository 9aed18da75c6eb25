// SPDX-License-Identifier: GPL-2.0-only
//! The size and shape of an inode, before its place is known.

use crate::image::layout::Layout;
use crate::image::order::Order;
use crate::image::{chunks, directory, BLOCK_SIZE, SLOT_SIZE, TAIL_MAX};
use crate::tree::{NodeId, Tree, S_IFDIR, S_IFLNK, S_IFREG};

const COMPACT_SIZE: u64 = 32;
const EXTENDED_SIZE: u64 = 64;
/// Size of the header in front of an inode's xattrs.
const XATTR_HEADER_SIZE: usize = 12;
/// Size of a reference to a shared xattr.
const XATTR_REFERENCE_SIZE: usize = 4;

/// What an inode consists of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    pub file_type: u32,
    /// Whether the short form of the inode has room for its fields.
    pub compact: bool,
    /// Size of the xattrs behind the inode.
    pub xattr_size: u64,
    /// How many xattrs are references to shared ones.
    pub shared_xattrs: u8,
    /// Size of the data behind the xattrs.
    pub tail: u64,
    /// Data blocks elsewhere in the image.
    pub blocks: u32,
    /// The size that the inode states.
    pub size: u64,
    /// The link count that the inode states.
    pub nlink: u32,
    /// Chunks, of a file whose content is in a store.
    pub chunks: Option<u32>,
}

impl Shape {
    pub fn of(tree: &Tree, order: &Order, layout: &Layout, id: NodeId) -> Self {
        let meta = tree.node(id).meta;
        let mut shape = Self {
            file_type: meta.file_type(),
            compact: false,
            xattr_size: 0,
            shared_xattrs: 0,
            tail: 0,
            blocks: 0,
            size: 0,
            nlink: meta.nlink,
            chunks: None,
        };
        // Devices, FIFOs and sockets have no data, and state none, but a size that a dump gave
        // them still counts here.
        let mut size = meta.size;
        match shape.file_type {
            S_IFDIR => {
                let extent = directory::extent(tree, order, id);
                shape.blocks = extent.blocks;
                shape.tail = extent.tail;
                shape.size = u64::from(extent.blocks) * BLOCK_SIZE + extent.tail;
                shape.nlink = 2 + extent.subdirs;
                size = shape.size;
            }
            S_IFLNK => {
                shape.tail = meta.size;
                shape.size = meta.size;
            }
            S_IFREG => {
                shape.size = meta.size;
                if meta.size == 0 {
                } else if tree.content(id).is_some() {
                    // At most 5000 bytes, so at most one block.
                    shape.blocks = (meta.size / BLOCK_SIZE) as u32;
                    shape.tail = meta.size % BLOCK_SIZE;
                    if shape.tail > TAIL_MAX {
                        shape.blocks += 1;
                        shape.tail = 0;
                    }
                } else {
                    let chunks = chunks(meta.size);
                    shape.chunks = Some(chunks.count);
                    shape.tail = u64::from(chunks.count) * 4;
                }
            }
            _ => {}
        }
        shape.compact = meta.mtime == layout.build_time
            && [shape.nlink, meta.uid, meta.gid]
                .into_iter()
                .all(|field| u16::try_from(field).is_ok())
            && u32::try_from(size).is_ok();
        shape.add_xattrs(tree, layout, id);
        if shape.file_type == S_IFLNK && shape.inode_size() + shape.tail >= BLOCK_SIZE {
            shape.blocks = 1;
            shape.tail = 0;
        }
        shape
    }

    fn add_xattrs(&mut self, tree: &Tree, layout: &Layout, id: NodeId) {
        if tree.xattrs(id).is_empty() {
            return;
        }
        let mut size = XATTR_HEADER_SIZE;
        for (xattr, position) in layout.xattrs(tree, id) {
            if position.is_some() {
                self.shared_xattrs += 1;
                size += XATTR_REFERENCE_SIZE;
            } else {
                size += tree.pool.stored_size(xattr);
            }
        }
        self.xattr_size = size as u64;
    }

    /// Size of the fixed part.
    fn header_size(&self) -> u64 {
        if self.compact {
            COMPACT_SIZE
        } else {
            EXTENDED_SIZE
        }
    }

    /// Size of the inode with its xattrs, without the tail.
    pub fn inode_size(&self) -> u64 {
        self.header_size() + self.xattr_size
    }

    /// Puts the tail into a data block of its own.
    pub fn spill_tail(&mut self) {
        self.blocks += 1;
        self.tail = 0;
    }

    /// Where the inode goes if the previous one ends at `end`, and whether its tail does not fit
    /// behind it: neither a tail nor a symlink's inode may cross a block boundary.
    pub fn place(&self, end: u64) -> (u64, bool) {
        let start = end.next_multiple_of(SLOT_SIZE);
        if self.file_type == S_IFLNK {
            // The target counts here even if it does not go behind the inode.
            let last = start + self.inode_size() + self.size - 1;
            if start / BLOCK_SIZE != last / BLOCK_SIZE {
                return (start.next_multiple_of(BLOCK_SIZE), false);
            }
            return (start, false);
        }
        let left = |start: u64| BLOCK_SIZE - (start + self.inode_size()) % BLOCK_SIZE;
        if left(start) >= self.tail {
            return (start, false);
        }
        let moved = start + left(start).next_multiple_of(SLOT_SIZE);
        if left(moved) >= self.tail {
            return (moved, false);
        }
        (start.next_multiple_of(BLOCK_SIZE), true)
    }
}
