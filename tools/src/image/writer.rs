// SPDX-License-Identifier: GPL-2.0-only
//! The second pass: writing the image from front to back.

use anyhow::{anyhow, Result};
use composefs_format::disk::inode::{self, compact, extended};
use composefs_format::disk::{header, superblock, xattr, BLOCK_BITS, BLOCK_SIZE, SLOT_SIZE};

use crate::chunks::Chunks;
use crate::image::directory;
use crate::image::layout::Layout;
use crate::image::order::Order;
use crate::image::shape::Shape;
use crate::image::sharing::Sharing;
use crate::image::sink::Sink;
use crate::structure::Structure;
use crate::tree::{FileType, Meta, NodeId, Tree, ROOT};
use crate::version::Version;
use crate::xattr::XattrId;

/// A tree, and where everything of it goes.
#[derive(Clone, Copy)]
pub(super) struct Plan<'a> {
    pub version: Version,
    pub tree: &'a Tree,
    pub order: &'a Order,
    pub sharing: &'a Sharing,
    pub layout: &'a Layout,
}

/// Writes an image.
///
/// # Errors
/// If writing fails.
pub(super) fn write(plan: Plan, sink: &mut Sink) -> Result<()> {
    let Plan { order, layout, .. } = plan;
    let mut writer = Writer {
        plan,
        next_block: layout.data_start / BLOCK_SIZE,
        sink,
    };
    writer.header()?;
    writer.superblock()?;
    for (number, (id, shape)) in (0..).zip(layout.inodes(order)) {
        writer.inode(id, shape, number)?;
    }
    writer.sink.align(SLOT_SIZE)?;
    writer.expect_at(layout.inodes_end)?;
    for &xattr in &plan.sharing.shared {
        writer.xattr(xattr)?;
    }
    writer.sink.align(BLOCK_SIZE)?;
    writer.expect_at(layout.data_start)?;
    for (id, shape) in layout.inodes(order) {
        if shape.blocks > 0 {
            writer.data_blocks(id, shape)?;
        }
    }
    writer.expect_at(layout.data_start + layout.data_blocks * BLOCK_SIZE)
}

struct Writer<'a, 'b> {
    plan: Plan<'a>,
    /// Where the data blocks of the next inode that has any begin.
    next_block: u64,
    sink: &'a mut Sink<'b>,
}

impl Writer<'_, '_> {
    /// Checks that both passes agree. They always do; were they not to, the image would be
    /// garbage, and is better not made.
    fn expect_at(&self, position: u64) -> Result<()> {
        if self.sink.position() != position {
            return Err(anyhow!(
                "internal error: at byte {} of the image, not {position}",
                self.sink.position()
            ));
        }
        Ok(())
    }

    fn header(&mut self) -> Result<()> {
        use header::at;
        let flags = match self.plan.sharing.has_acl {
            true => header::HAS_ACL,
            false => 0,
        };
        let mut header = Structure::<{ superblock::OFFSET }>::new();
        header
            .put(at::MAGIC, header::MAGIC)
            .put(at::VERSION, header::VERSION)
            .put(at::FLAGS, flags)
            .put(at::FORMAT, self.plan.version.number());
        self.sink.write(header.as_bytes())
    }

    fn superblock(&mut self) -> Result<()> {
        use superblock::at;
        let Plan { order, layout, .. } = self.plan;
        let blocks = layout.data_start / BLOCK_SIZE + layout.data_blocks;
        let xattr_block = self.reference_base() / BLOCK_SIZE;
        let compat = superblock::COMPAT_MTIME | superblock::COMPAT_XATTR_FILTER;
        let mut superblock = Structure::<{ superblock::SIZE }>::new();
        // No checksum, no UUID, no name, no incompatible feature.
        superblock
            .put(at::MAGIC, superblock::MAGIC)
            .put(at::COMPAT, compat)
            .put(at::BLOCK_BITS, BLOCK_BITS)
            .put(at::ROOT_NID, layout.nid(ROOT) as u16)
            .put(at::INOS, order.inodes.len() as u64)
            .put(at::BUILD_TIME, layout.build_time.sec as u64)
            .put(at::BUILD_TIME_NSEC, layout.build_time.nsec)
            .put(at::BLOCKS, blocks as u32)
            .put(at::XATTR_BLOCK, xattr_block as u32);
        self.sink.write(superblock.as_bytes())
    }

    /// Where the block begins that references to shared xattrs count from.
    fn reference_base(&self) -> u64 {
        let end = self.plan.layout.inodes_end;
        match self.plan.version.is_rs() {
            true => 0,
            false => end - end % BLOCK_SIZE,
        }
    }

    fn inode(&mut self, id: NodeId, shape: &Shape, number: u32) -> Result<()> {
        let Plan { version, tree, .. } = self.plan;
        let start = self.plan.layout.start(id);
        self.sink.pad(start - self.sink.position())?;
        let meta = tree.node(id).meta;
        let is_external = tree.is_external(id);
        let (number, nsec) = match version.is_rs() {
            true => (self.plan.layout.nid(id) as u32, 0),
            false => (number, meta.mtime.nsec),
        };
        let layout = match shape.tail() {
            _ if is_external => inode::CHUNKS,
            0 => inode::PLAIN,
            _ => inode::INLINE,
        };
        let size = match meta.file_type {
            FileType::Regular | FileType::Directory | FileType::Symlink => meta.size,
            _ => 0,
        };
        let xattr_count = match shape.xattr_size() {
            0 => 0,
            size => (size - xattr::HEADER_SIZE) / xattr::ALIGNMENT + 1,
        };
        let mut fields = Structure::<{ inode::EXTENDED_SIZE }>::new();
        fields
            .put(inode::at::XATTR_COUNT, xattr_count as u16)
            .put(inode::at::MODE, meta.mode())
            .put(inode::at::ADDRESS, self.address(shape, &meta, is_external))
            .put(inode::at::INO, number);
        if shape.compact {
            fields
                .put(inode::at::FORMAT, layout)
                .put(compact::NLINK, meta.nlink as u16)
                .put(compact::SIZE, size as u32)
                .put(compact::UID, meta.uid as u16)
                .put(compact::GID, meta.gid as u16);
            self.sink.write(&fields.as_bytes()[..inode::COMPACT_SIZE])?;
        } else {
            fields
                .put(inode::at::FORMAT, layout | inode::EXTENDED)
                .put(extended::SIZE, size)
                .put(extended::UID, meta.uid)
                .put(extended::GID, meta.gid)
                .put(extended::MTIME, meta.mtime.sec as u64)
                .put(extended::MTIME_NSEC, nsec)
                .put(extended::NLINK, meta.nlink);
            self.sink.write(fields.as_bytes())?;
        }
        self.inode_xattrs(id, shape)?;
        self.tail(id, shape)?;
        self.expect_at(start + shape.inode_size() + shape.tail())
    }

    /// The field that tells where the data is, or which device the inode stands for.
    fn address(&mut self, shape: &Shape, meta: &Meta, is_external: bool) -> u32 {
        if matches!(meta.file_type, FileType::CharDevice | FileType::BlockDevice) {
            return meta.rdev;
        }
        let mut address = 0;
        if shape.blocks > 0 {
            address = self.next_block as u32;
            self.next_block += u64::from(shape.blocks);
        }
        if is_external {
            // The chunk format takes the lower half. Of a spilled file, the upper half of the
            // block address stays, meaningless, but part of the image.
            let bits = match self.plan.version.is_rs() {
                true => u32::from(inode::CHUNK_BITS),
                false => Chunks::of(meta.size).bits - u32::from(BLOCK_BITS),
            };
            address = address & 0xffff_0000 | bits;
        }
        address
    }

    fn inode_xattrs(&mut self, id: NodeId, shape: &Shape) -> Result<()> {
        use xattr::at;
        if shape.xattr_size() == 0 {
            return Ok(());
        }
        let Plan {
            tree,
            sharing,
            layout,
            ..
        } = self.plan;
        let filter = tree.xattrs(id).iter().fold(u32::MAX, |filter, &xattr| {
            let (prefix, suffix) = tree.pool.split_name(&tree.bytes, xattr);
            filter & !(1 << prefix.filter_bit(suffix))
        });
        let mut header = Structure::<{ xattr::HEADER_SIZE }>::new();
        header
            .put(at::FILTER, filter)
            .put(at::SHARED, shape.shared_xattrs);
        self.sink.write(header.as_bytes())?;
        let base = layout.inodes_end - self.reference_base();
        let base = base / xattr::ALIGNMENT as u64;
        for (_, position) in sharing.xattrs(tree, id) {
            if let Some(position) = position {
                let mut reference = Structure::<{ xattr::REFERENCE_SIZE }>::new();
                reference.put(xattr::REFERENCE, base as u32 + position);
                self.sink.write(reference.as_bytes())?;
            }
        }
        for (xattr, position) in sharing.xattrs(tree, id) {
            if position.is_none() {
                self.xattr(xattr)?;
            }
        }
        Ok(())
    }

    fn xattr(&mut self, id: XattrId) -> Result<()> {
        use xattr::entry;
        let Plan { tree, .. } = self.plan;
        let (prefix, suffix) = tree.pool.split_name(&tree.bytes, id);
        let value = tree.pool.value(&tree.bytes, id);
        let mut header = Structure::<{ xattr::ENTRY_SIZE }>::new();
        header
            .put(entry::NAME_LEN, suffix.len() as u8)
            .put(entry::PREFIX, prefix as u8)
            .put(entry::VALUE_LEN, value.len() as u16);
        self.sink.write(header.as_bytes())?;
        self.sink.write(suffix)?;
        self.sink.write(value)?;
        self.sink.align(xattr::ALIGNMENT as u64)
    }

    /// Writes the data that goes behind the inode.
    fn tail(&mut self, id: NodeId, shape: &Shape) -> Result<()> {
        if shape.tail() == 0 {
            return Ok(());
        }
        let Plan { tree, .. } = self.plan;
        match tree.node(id).meta.file_type {
            FileType::Directory => self.directory(id, shape.blocks as usize, 1),
            FileType::Symlink => self.sink.write(tree.payload(id).unwrap_or_default()),
            _ => match tree.content(id) {
                Some(content) => {
                    let start = content.len() - shape.tail() as usize;
                    self.sink.write(&content[start..])
                }
                None => self.null_chunks(shape.tail()),
            },
        }
    }

    /// Writes the data that goes into blocks.
    fn data_blocks(&mut self, id: NodeId, shape: &Shape) -> Result<()> {
        let Plan { tree, .. } = self.plan;
        match tree.node(id).meta.file_type {
            FileType::Directory => self.directory(id, 0, shape.blocks as usize)?,
            FileType::Symlink => self.sink.write(tree.payload(id).unwrap_or_default())?,
            _ => match tree.content(id) {
                Some(content) => {
                    let end = content.len() - shape.tail() as usize;
                    self.sink.write(&content[..end])?;
                }
                None => self.null_chunks(BLOCK_SIZE)?,
            },
        }
        self.sink.align(BLOCK_SIZE)
    }

    /// Writes `count` blocks of a directory from number `first` on, each padded but the last.
    fn directory(&mut self, id: NodeId, first: usize, count: usize) -> Result<()> {
        let Plan {
            tree,
            order,
            layout,
            ..
        } = self.plan;
        let blocks = directory::blocks(tree, order, id).skip(first).take(count);
        for (number, block) in blocks.enumerate() {
            if number > 0 {
                self.sink.align(BLOCK_SIZE)?;
            }
            block.write(|id| layout.nid(id), self.sink)?;
        }
        Ok(())
    }

    /// Writes so many bytes of addresses of chunks that the image does not hold.
    fn null_chunks(&mut self, size: u64) -> Result<()> {
        let count = size as usize / inode::CHUNK_ADDRESS_SIZE;
        (0..count).try_for_each(|_| self.sink.write(&inode::NULL_CHUNK.to_le_bytes()))
    }
}
