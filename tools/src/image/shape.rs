// SPDX-License-Identifier: GPL-2.0-only
//! The shape of an inode: what it consists of, and how large that is.

use anyhow::{anyhow, Result};
use composefs_format::disk::{inode, xattr, BLOCK_SIZE, SLOT_SIZE};

use crate::chunks::Chunks;
use crate::image::sharing::Sharing;
use crate::tree::{FileType, Meta, NodeId, Time, Tree};
use crate::version::Version;

/// Longest tail of a directory that is put behind its inode; of a file too, but for version 2.
pub(super) const TAIL_MAX: u64 = BLOCK_SIZE / 2;

/// What an inode consists of. There is one for each inode of a tree, so it is kept small.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    /// Data blocks elsewhere in the image.
    pub blocks: u32,
    /// Size of the xattrs behind the inode.
    xattr_size: u32,
    /// Size of the data behind the xattrs.
    tail: u16,
    /// How many xattrs are references to shared ones.
    pub shared_xattrs: u8,
    /// Whether the short form of the inode has room for its fields.
    pub compact: bool,
}

impl Shape {
    /// `build_time` is the time that compact inodes have.
    pub fn of(
        version: Version,
        tree: &Tree,
        sharing: &Sharing,
        build_time: Time,
        id: NodeId,
    ) -> Self {
        let meta = tree.node(id).meta;
        let mut shape = Self {
            blocks: 0,
            xattr_size: 0,
            tail: 0,
            shared_xattrs: 0,
            // Of devices, FIFOs and sockets, which state none, a size that a dump gave them
            // counts as well.
            compact: !version.is_rs()
                && meta.mtime == build_time
                && [meta.nlink, meta.uid, meta.gid]
                    .into_iter()
                    .all(|field| u16::try_from(field).is_ok())
                && u32::try_from(meta.size).is_ok(),
        };
        shape.add_xattrs(tree, sharing, id);
        match meta.file_type {
            FileType::Regular if tree.is_external(id) => {
                let count = match version.is_rs() {
                    true => usize::from(tree.metacopy(id).is_some()),
                    false => Chunks::of(meta.size).count as usize,
                };
                // At most one block of addresses.
                shape.tail = (count * inode::CHUNK_ADDRESS_SIZE) as u16;
            }
            // At most INLINE_MAX bytes.
            FileType::Regular | FileType::Symlink if version.is_rs() => {
                shape.tail = meta.size as u16;
            }
            FileType::Regular | FileType::Directory => {
                shape.blocks = (meta.size / BLOCK_SIZE) as u32;
                shape.tail = (meta.size % BLOCK_SIZE) as u16;
                if shape.tail() > TAIL_MAX {
                    shape.spill_tail();
                }
            }
            FileType::Symlink => {
                // At most 4095 bytes.
                shape.tail = meta.size as u16;
                if shape.inode_size() + shape.tail() >= BLOCK_SIZE {
                    shape.spill_tail();
                }
            }
            _ => {}
        }
        shape
    }

    fn add_xattrs(&mut self, tree: &Tree, sharing: &Sharing, id: NodeId) {
        if tree.xattrs(id).is_empty() {
            return;
        }
        let mut size = xattr::HEADER_SIZE;
        for (xattr, position) in sharing.xattrs(tree, id) {
            if position.is_some() {
                self.shared_xattrs += 1;
                size += xattr::REFERENCE_SIZE;
            } else {
                size += tree.pool.stored_size(xattr);
            }
        }
        self.xattr_size = size as u32;
    }

    /// Size of the xattrs behind the inode.
    pub fn xattr_size(&self) -> usize {
        self.xattr_size as usize
    }

    /// Size of the data behind the xattrs.
    pub fn tail(&self) -> u64 {
        u64::from(self.tail)
    }

    /// Size of the inode with its xattrs, without the tail.
    pub fn inode_size(&self) -> u64 {
        let fixed = match self.compact {
            true => inode::COMPACT_SIZE,
            false => inode::EXTENDED_SIZE,
        };
        (fixed + self.xattr_size()) as u64
    }

    /// Puts the tail into a data block of its own.
    pub fn spill_tail(&mut self) {
        self.blocks += 1;
        self.tail = 0;
    }

    /// Where the inode goes if the previous one ends at `end`, and whether its tail does not fit
    /// behind it: neither a tail nor a symlink's inode may cross a block boundary.
    pub fn place(&self, meta: &Meta, end: u64) -> (u64, bool) {
        let start = end.next_multiple_of(SLOT_SIZE);
        if meta.file_type == FileType::Symlink {
            // The target counts here even if it does not go behind the inode.
            let last = start + self.inode_size() + meta.size - 1;
            if start / BLOCK_SIZE != last / BLOCK_SIZE {
                return (start.next_multiple_of(BLOCK_SIZE), false);
            }
            return (start, false);
        }
        let left = |start: u64| BLOCK_SIZE - (start + self.inode_size()) % BLOCK_SIZE;
        if left(start) >= self.tail() {
            return (start, false);
        }
        let moved = start + left(start).next_multiple_of(SLOT_SIZE);
        if left(moved) >= self.tail() {
            return (moved, false);
        }
        (start.next_multiple_of(BLOCK_SIZE), true)
    }

    /// The same in version 2: a tail that does not fit moves, and its inode with it, to a few bytes
    /// into the next block. Addresses of chunks are not looked at.
    ///
    /// # Errors
    /// If the tail crosses a block boundary even so: nobody could read it there.
    pub fn place_rs(&self, is_external: bool, end: u64) -> Result<u64> {
        let mut start = end.next_multiple_of(SLOT_SIZE);
        if self.tail == 0 || is_external {
            return Ok(start);
        }
        let before_tail = start + self.inode_size() - 1;
        let after_tail = before_tail + self.tail() + 1;
        if before_tail / BLOCK_SIZE != after_tail / BLOCK_SIZE {
            start += BLOCK_SIZE - before_tail % BLOCK_SIZE;
            start = start.next_multiple_of(SLOT_SIZE);
        }
        if (start + self.inode_size()) % BLOCK_SIZE + self.tail() > BLOCK_SIZE {
            return Err(anyhow!(
                "{} bytes are more than an image of format version 2 can hold here",
                self.tail
            ));
        }
        Ok(start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_symlink_may_end_with_its_block() {
        let shape = Shape {
            blocks: 0,
            xattr_size: 0,
            tail: 0,
            shared_xattrs: 0,
            compact: true,
        };
        let mut meta = Meta::new(FileType::Symlink, 0o777);
        let start = 2 * BLOCK_SIZE - 128;
        meta.size = 128 - shape.inode_size();
        assert_eq!(shape.place(&meta, start), (start, false));
        meta.size += 1;
        assert_eq!(shape.place(&meta, start), (2 * BLOCK_SIZE, false));
    }
}
