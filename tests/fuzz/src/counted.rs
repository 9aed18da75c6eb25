// SPDX-License-Identifier: GPL-2.0-only
//! An image whose every use is measured: no call may fetch more blocks than it can have a use for.
//!
//! The bounds are those that the driver promises to the callers of its system calls. They hold for every image, so
//! neither cycles nor parts that are shared can make a call costly.

use std::cell::Cell;

use composefs_format::{
    DirEntry, Error, External, FileType, Image, Inode, Node, Source, XattrFilter, XattrIndex,
    XattrValue, BLOCK_SIZE,
};

/// An image in memory that counts the blocks it hands out.
pub(crate) struct Memory<'a> {
    bytes: &'a [u8],
    fetched: Cell<u64>,
}

impl<'a> Source for Memory<'a> {
    type Error = Error;
    type Block<'b>
        = &'a [u8]
    where
        Self: 'b;

    fn size(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn block(&self, index: u64) -> Result<&'a [u8], Error> {
        self.fetched.set(self.fetched.get() + 1);
        let start = usize::try_from(index * BLOCK_SIZE).expect("a block that is not there");
        assert!(start < self.bytes.len(), "block {index} is not there");
        let end = self.bytes.len().min(start + BLOCK_SIZE as usize);
        Ok(&self.bytes[start..end])
    }
}

/// An entry of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Listed {
    pub name: Vec<u8>,
    pub nid: u64,
    pub file_type: FileType,
    pub pos: u64,
}

/// A stored attribute: number of its prefix, the rest of its name, where its value is.
pub(crate) struct Attribute {
    pub index: XattrIndex,
    pub name: Vec<u8>,
    pub value: XattrValue,
}

/// What a call that hands out one part after another came to.
pub(crate) struct Parts<T> {
    /// Those that were handed out.
    pub parts: Vec<T>,
    /// Whether there were no more, or why it ended.
    pub end: Result<u64, Error>,
}

/// An open image.
pub(crate) struct Counted<'a>(Image<Memory<'a>>);

impl<'a> Counted<'a> {
    pub fn open(bytes: &'a [u8]) -> Result<Self, Error> {
        let source = Memory {
            bytes,
            fetched: Cell::new(0),
        };
        let image = Self(Image::open(source)?);
        // The superblock, and a root that straddles two blocks.
        assert!(image.fetched() <= 3, "open: {} blocks", image.fetched());
        Ok(image)
    }

    pub fn image(&self) -> &Image<Memory<'a>> {
        &self.0
    }

    /// Blocks fetched so far.
    pub fn fetched(&self) -> u64 {
        self.0.source().fetched.get()
    }

    /// Calls `f`, which may fetch so many blocks.
    fn within<T>(&self, bound: u64, what: &str, f: impl FnOnce(&Image<Memory<'a>>) -> T) -> T {
        let before = self.fetched();
        let result = f(&self.0);
        let used = self.fetched() - before;
        assert!(used <= bound, "{what}: {used} blocks, at most {bound}");
        result
    }

    pub fn inode(&self, nid: u64) -> Result<Inode, Error> {
        self.within(2, "inode", |image| image.inode(nid))
    }

    /// A binary search: every step halves what is left. What is a character device, or was one and is not shown, was
    /// looked at to see whether it is a whiteout.
    pub fn lookup(&self, dir: &Node, name: &[u8]) -> Result<Option<DirEntry>, Error> {
        let blocks = dir.size().div_ceil(BLOCK_SIZE);
        let steps = u64::from(u64::BITS - blocks.leading_zeros());
        let before = self.fetched();
        let found = self.within(steps + 2, "lookup", |image| image.lookup(dir, name));
        if let Ok(Some(entry)) = found {
            if entry.file_type != FileType::CharDevice {
                assert!(
                    self.fetched() - before <= steps,
                    "lookup: more than {steps} blocks"
                );
            }
        }
        found
    }

    /// At most `max` entries from `pos` on: the directory's blocks once each, and the inodes of character devices, as
    /// they may be whiteouts. An entry has 12 bytes and a name of at least one.
    pub fn list(&self, dir: &Node, pos: u64, max: usize) -> Parts<Listed> {
        let start = pos - pos % BLOCK_SIZE;
        let size = dir.size().saturating_sub(start);
        let bound = size.div_ceil(BLOCK_SIZE) + 2 * (size / 13);
        let mut parts = Vec::new();
        let end = self.within(bound, "list", |image| {
            image.read_dir(dir, pos, &mut |entry| {
                if parts.len() == max {
                    return false;
                }
                parts.push(Listed {
                    name: entry.name.to_vec(),
                    nid: entry.nid,
                    file_type: entry.file_type,
                    pos: entry.pos,
                });
                true
            })
        });
        Parts { parts, end }
    }

    /// Most blocks that the attributes of a file can lie in: its own, which lie together, and 255 shared ones, whose
    /// names may straddle two blocks.
    fn attribute_blocks(node: &Node) -> u64 {
        if !node.has_xattrs() {
            return 0;
        }
        // The area has at most 65535 words. It begins and ends within a block; the numbers of the shared ones are
        // at its beginning, which is gone back to.
        65535 * 4 / BLOCK_SIZE + 2 + 2 + 255 * 2
    }

    pub fn list_xattrs(&self, node: &Node) -> Parts<Attribute> {
        let mut parts = Vec::new();
        let bound = Self::attribute_blocks(node);
        let end = self.within(bound, "list_xattrs", |image| {
            image.list_xattrs(node, &mut |index, name, value| {
                parts.push(Attribute {
                    index,
                    name: name.to_vec(),
                    value,
                });
                true
            })
        });
        Parts {
            parts,
            end: end.map(|()| 0),
        }
    }

    pub fn xattr(
        &self,
        node: &Node,
        index: XattrIndex,
        name: &[u8],
    ) -> Result<Option<XattrValue>, Error> {
        let bound = Self::attribute_blocks(node);
        self.within(bound, "xattr", |image| image.xattr(node, index, name))
    }

    /// The value; the second time the filter of the inode is known, which must not matter.
    pub fn visible_xattr(
        &self,
        node: &Node,
        index: XattrIndex,
        name: &[u8],
    ) -> Result<Option<Vec<u8>>, Error> {
        let mut filter = XattrFilter::default();
        let mut read = || {
            let mut bytes = vec![0; usize::from(u16::MAX)];
            let bound =
                Self::attribute_blocks(node) + (bytes.len() as u64).div_ceil(BLOCK_SIZE) + 1;
            let len = self.within(bound, "read_visible_xattr", |image| {
                image.read_visible_xattr(node, index, name, &mut filter, &mut bytes)
            })?;
            Ok(len.map(|len| {
                bytes.truncate(len);
                bytes
            }))
        };
        let found = read();
        assert_eq!(found, read());
        found
    }

    pub fn read_xattr(&self, value: &XattrValue) -> Result<Vec<u8>, Error> {
        let mut bytes = vec![0; value.len()];
        let bound = (value.len() as u64).div_ceil(BLOCK_SIZE) + 1;
        let read = self.within(bound, "read_xattr", |image| {
            image.read_xattr(value, &mut bytes)
        })?;
        assert_eq!(read, bytes.len());
        Ok(bytes)
    }

    /// The attributes, then a digest of at most 68 bytes and a path of at most 4095.
    pub fn external(&self, node: &Node) -> Result<Option<External>, Error> {
        let bound = Self::attribute_blocks(node) + 2 + 3;
        self.within(bound, "external", |image| image.external(node))
    }

    pub fn has_digest(&self, node: &Node) -> Result<bool, Error> {
        let bound = Self::attribute_blocks(node) + 2;
        self.within(bound, "has_digest", |image| image.has_digest(node))
    }

    /// At most `len` bytes of content from `offset` on.
    pub fn data(&self, node: &Node, offset: u64, len: usize) -> Result<Vec<u8>, Error> {
        let mut bytes = vec![0; len];
        let bound = (len as u64).div_ceil(BLOCK_SIZE) + 1;
        let read = self.within(bound, "data", |image| {
            image.read_data(node, offset, &mut bytes)
        })?;
        bytes.truncate(read);
        Ok(bytes)
    }

    /// The content of a file in the image, which has no more than that, in pieces of this size.
    pub fn content(&self, node: &Node, piece: usize) -> Result<Vec<u8>, Error> {
        let mut all = Vec::new();
        loop {
            let bytes = self.data(node, all.len() as u64, piece)?;
            all.extend_from_slice(&bytes);
            if bytes.len() < piece {
                return Ok(all);
            }
        }
    }
}
