// SPDX-License-Identifier: GPL-2.0-only
//! The second pass: writing the image from front to back.

use anyhow::{anyhow, Result};

use crate::image::directory::{self, Part};
use crate::image::inode::Shape;
use crate::image::layout::Layout;
use crate::image::order::Order;
use crate::image::sink::Sink;
use crate::image::{chunks, BLOCK_BITS, BLOCK_SIZE, INODES_START, SLOT_SIZE, SUPERBLOCK_OFFSET};
use crate::tree::{NodeId, Tree, ROOT, S_IFBLK, S_IFCHR, S_IFDIR, S_IFLNK, S_IFREG};
use crate::xattr::XattrId;

const COMPOSEFS_MAGIC: u32 = 0xd078_629a;
const COMPOSEFS_HEADER_VERSION: u32 = 1;
const COMPOSEFS_FLAG_HAS_ACL: u32 = 1;
const EROFS_MAGIC: u32 = 0xe0f5_e1e2;
const EROFS_COMPAT_MTIME: u32 = 2;
const EROFS_COMPAT_XATTR_FILTER: u32 = 4;
const LAYOUT_FLAT_PLAIN: u16 = 0;
const LAYOUT_FLAT_INLINE: u16 = 2;
const LAYOUT_CHUNK_BASED: u16 = 4;
/// Address of a chunk that the image does not hold.
const NULL_ADDRESS: [u8; 4] = [0xff; 4];
const XATTR_FILTER_SEED: u32 = 0x25bb_e08f;
const XATTR_FILTER_BITS: u32 = 32;

/// Writes an image.
///
/// # Errors
/// If writing fails.
pub(super) fn write(
    tree: &Tree,
    order: &Order,
    layout: &Layout,
    version: u32,
    sink: &mut Sink,
) -> Result<()> {
    let mut writer = Writer {
        tree,
        order,
        layout,
        next_block: layout.data_start() / BLOCK_SIZE,
        sink,
    };
    writer.header(version)?;
    writer.superblock()?;
    for (number, &id) in (0..).zip(&order.inodes) {
        writer.inode(id, number)?;
    }
    writer.sink.align(SLOT_SIZE)?;
    writer.expect_at(layout.inodes_end)?;
    for &xattr in &layout.shared {
        writer.xattr(xattr)?;
    }
    writer.sink.align(BLOCK_SIZE)?;
    writer.expect_at(layout.data_start())?;
    for &id in &order.inodes {
        writer.data_blocks(id)?;
    }
    writer.expect_at(layout.data_start() + layout.data_blocks * BLOCK_SIZE)
}

struct Writer<'a, 'b> {
    tree: &'a Tree,
    order: &'a Order,
    layout: &'a Layout,
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

    fn header(&mut self, version: u32) -> Result<()> {
        let flags = if self.layout.has_acl {
            COMPOSEFS_FLAG_HAS_ACL
        } else {
            0
        };
        for field in [COMPOSEFS_MAGIC, COMPOSEFS_HEADER_VERSION, flags, version] {
            self.sink.write(&field.to_le_bytes())?;
        }
        self.sink.align(SUPERBLOCK_OFFSET)
    }

    fn superblock(&mut self) -> Result<()> {
        let layout = self.layout;
        let mut fields = Fields::new();
        fields.u32(EROFS_MAGIC);
        fields.u32(0); // checksum: none
        fields.u32(EROFS_COMPAT_MTIME | EROFS_COMPAT_XATTR_FILTER);
        fields.u8(BLOCK_BITS as u8);
        fields.u8(0); // extension slots
        fields.u16(layout.nid(ROOT) as u16);
        fields.u64(self.order.inodes.len() as u64);
        fields.u64(layout.build_time.sec as u64);
        fields.u32(layout.build_time.nsec);
        fields.u32((layout.data_start() / BLOCK_SIZE + layout.data_blocks) as u32);
        fields.u32(0); // block that inode numbers count from
        fields.u32((layout.inodes_end / BLOCK_SIZE) as u32); // block that xattrs count from
        self.sink.write(fields.as_bytes())?;
        // No UUID, no name, no incompatible feature.
        self.sink.pad(INODES_START - self.sink.position())
    }

    fn inode(&mut self, id: NodeId, number: u32) -> Result<()> {
        let shape = self.layout.shape(self.tree, self.order, id);
        let start = self.layout.start(id);
        self.sink.pad(start - self.sink.position())?;
        let fields = self.inode_fields(id, number, &shape);
        self.sink.write(fields.as_bytes())?;
        self.inode_xattrs(id, &shape)?;
        self.tail(id, &shape)?;
        self.expect_at(start + shape.inode_size() + shape.tail)
    }

    fn inode_fields(&mut self, id: NodeId, number: u32, shape: &Shape) -> Fields {
        let meta = self.tree.node(id).meta;
        let data_layout = if shape.chunks.is_some() {
            LAYOUT_CHUNK_BASED
        } else if shape.tail > 0 {
            LAYOUT_FLAT_INLINE
        } else {
            LAYOUT_FLAT_PLAIN
        };
        let xattr_count = match shape.xattr_size {
            0 => 0,
            size => (size - 12) / 4 + 1,
        };
        let location = self.location(shape, meta.rdev, meta.size);

        let mut fields = Fields::new();
        fields.u16(data_layout << 1 | u16::from(!shape.compact));
        fields.u16(xattr_count as u16);
        fields.u16(meta.mode as u16);
        if shape.compact {
            fields.u16(shape.nlink as u16);
            fields.u32(shape.size as u32);
            fields.u32(0);
            fields.u32(location);
            fields.u32(number);
            fields.u16(meta.uid as u16);
            fields.u16(meta.gid as u16);
            fields.u32(0);
        } else {
            fields.u16(0);
            fields.u64(shape.size);
            fields.u32(location);
            fields.u32(number);
            fields.u32(meta.uid);
            fields.u32(meta.gid);
            fields.u64(meta.mtime.sec as u64);
            fields.u32(meta.mtime.nsec);
            fields.u32(shape.nlink);
            fields.u64(0);
            fields.u64(0);
        }
        fields
    }

    /// The field that tells where the data is, or which device the inode stands for.
    fn location(&mut self, shape: &Shape, rdev: u32, size: u64) -> u32 {
        if matches!(shape.file_type, S_IFCHR | S_IFBLK) {
            return rdev;
        }
        let mut location = 0;
        if shape.blocks > 0 {
            location = self.next_block as u32;
            self.next_block += u64::from(shape.blocks);
        }
        if shape.chunks.is_some() {
            // The chunk format takes the lower half. Of a spilled file, the upper half of the
            // block address stays, meaningless, but part of the image.
            let format = chunks(size).bits - BLOCK_BITS;
            location = location & 0xffff_0000 | format;
        }
        location
    }

    fn inode_xattrs(&mut self, id: NodeId, shape: &Shape) -> Result<()> {
        if shape.xattr_size == 0 {
            return Ok(());
        }
        let (tree, layout) = (self.tree, self.layout);
        let mut fields = Fields::new();
        fields.u32(tree.xattrs(id).iter().fold(u32::MAX, |filter, &xattr| {
            let (prefix, suffix) = tree.pool.split_name(&tree.bytes, xattr);
            let seed = XATTR_FILTER_SEED + u32::from(prefix);
            filter & !(1 << (xxhash_rust::xxh32::xxh32(suffix, seed) % XATTR_FILTER_BITS))
        }));
        fields.u8(shape.shared_xattrs);
        fields.u8(0);
        fields.u16(0);
        fields.u32(0);
        self.sink.write(fields.as_bytes())?;
        // References count from the block that the shared area begins in.
        let base = (layout.inodes_end % BLOCK_SIZE / 4) as u32;
        for (_, position) in layout.xattrs(tree, id) {
            if let Some(position) = position {
                self.sink.write(&(base + position).to_le_bytes())?;
            }
        }
        for (xattr, position) in layout.xattrs(tree, id) {
            if position.is_none() {
                self.xattr(xattr)?;
            }
        }
        Ok(())
    }

    fn xattr(&mut self, id: XattrId) -> Result<()> {
        let (prefix, suffix) = self.tree.pool.split_name(&self.tree.bytes, id);
        let value = self.tree.pool.value(&self.tree.bytes, id);
        let mut fields = Fields::new();
        fields.u8(suffix.len() as u8);
        fields.u8(prefix);
        fields.u16(value.len() as u16);
        self.sink.write(fields.as_bytes())?;
        self.sink.write(suffix)?;
        self.sink.write(value)?;
        self.sink.align(4)
    }

    fn tail(&mut self, id: NodeId, shape: &Shape) -> Result<()> {
        if shape.tail == 0 {
            return Ok(());
        }
        match shape.file_type {
            S_IFDIR => self.directory(id, shape, Part::Tail),
            S_IFLNK => self.sink.write(self.tree.payload(id).unwrap_or_default()),
            _ => match shape.chunks {
                Some(count) => self.null_chunks(count),
                None => {
                    let content = self.tree.content(id).unwrap_or_default();
                    let start = content.len() - shape.tail as usize;
                    self.sink.write(&content[start..])
                }
            },
        }
    }

    fn data_blocks(&mut self, id: NodeId) -> Result<()> {
        // Only these can have any; the shape of a directory is costly to find.
        let meta = self.tree.node(id).meta;
        if !matches!(meta.file_type(), S_IFDIR | S_IFLNK | S_IFREG) {
            return Ok(());
        }
        let shape = self.layout.shape(self.tree, self.order, id);
        if shape.blocks == 0 {
            return Ok(());
        }
        match shape.file_type {
            S_IFDIR => return self.directory(id, &shape, Part::Blocks),
            S_IFLNK => self.sink.write(self.tree.payload(id).unwrap_or_default())?,
            _ if shape.chunks.is_some() => self.null_chunks(BLOCK_SIZE as u32 / 4)?,
            _ => {
                let content = self.tree.content(id).unwrap_or_default();
                let end = content.len() - shape.tail as usize;
                self.sink.write(&content[..end])?;
            }
        }
        self.sink.align(BLOCK_SIZE)
    }

    fn directory(&mut self, id: NodeId, shape: &Shape, part: Part) -> Result<()> {
        directory::write(
            self.tree,
            self.order,
            self.layout,
            id,
            shape.blocks,
            part,
            self.sink,
        )
    }

    fn null_chunks(&mut self, count: u32) -> Result<()> {
        (0..count).try_for_each(|_| self.sink.write(&NULL_ADDRESS))
    }
}

/// Little-endian fields of an on-disk structure, one after the other.
struct Fields {
    bytes: [u8; 64],
    len: usize,
}

impl Fields {
    fn new() -> Self {
        Self {
            bytes: [0; 64],
            len: 0,
        }
    }

    fn put(&mut self, value: &[u8]) {
        self.bytes[self.len..self.len + value.len()].copy_from_slice(value);
        self.len += value.len();
    }

    fn u8(&mut self, value: u8) {
        self.put(&[value]);
    }

    fn u16(&mut self, value: u16) {
        self.put(&value.to_le_bytes());
    }

    fn u32(&mut self, value: u32) {
        self.put(&value.to_le_bytes());
    }

    fn u64(&mut self, value: u64) {
        self.put(&value.to_le_bytes());
    }

    fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}
