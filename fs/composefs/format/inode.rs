// SPDX-License-Identifier: GPL-2.0-only OR MIT
//! Inodes: compact ones of 32 bytes and extended ones of 64, in slots of 32 bytes counted from the
//! image's start.

use super::disk::inode::{at, compact, extended};
use super::disk::inode::{
    CHUNKS, CHUNK_BITS, COMPACT_SIZE, EXTENDED, EXTENDED_SIZE, INLINE, LAYOUT, PLAIN,
};
use super::disk::{superblock, xattr, Field, SLOT_SIZE};
use super::source::{Window, SHORT_BLOCK};
use super::superblock::Superblock;
use super::{Error, FileType, Image, Source, BLOCK_SIZE};

/// What the format of an inode can say.
const FORMAT_KNOWN: u16 = EXTENDED | LAYOUT;

/// Inodes start at multiples of 32, so one that straddles two blocks does so exactly there, in its
/// middle.
const MIDDLE: usize = SLOT_SIZE as usize;
/// Fields of an extended inode after its middle, counted from there.
const MTIME: Field<u64> = extended::MTIME.from(MIDDLE);
const MTIME_NSEC: Field<u32> = extended::MTIME_NSEC.from(MIDDLE);
const NLINK: Field<u32> = extended::NLINK.from(MIDDLE);

/// Longest symlink target in bytes: `PATH_MAX` less the final NUL.
const SYMLINK_MAX: u64 = 4095;

/// A point in time, counted from 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time {
    /// Seconds.
    pub sec: i64,
    /// Nanoseconds to add to them. Writers of composefs store what a dump says, which may be a
    /// second and more.
    pub nsec: u32,
}

/// Where an inode's parts are: all that is needed to use a file of a known image later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Node {
    nid: u64,
    size: u64,
    /// First block of the data, or the chunk format in the low half.
    address: u32,
    /// On-disk measure of the attribute area: 0, or 1 + its 4-byte words after the header.
    xattr_count: u16,
    file_type: FileType,
    /// On-disk format word: whether the inode is extended, and its data layout.
    format: u8,
}

const _: () = assert!(size_of::<Node>() <= 24);

/// A [`Node`] less its number and its size: for who keeps those elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CompactNode {
    address: u32,
    xattr_count: u16,
    file_type: FileType,
    format: u8,
}

impl CompactNode {
    /// The node, given the number and the size that it has.
    #[inline]
    pub fn expand(self, nid: u64, size: u64) -> Node {
        Node {
            nid,
            size,
            address: self.address,
            xattr_count: self.xattr_count,
            file_type: self.file_type,
            format: self.format,
        }
    }

    /// Whether the inode has extended attributes.
    #[inline]
    pub fn has_xattrs(&self) -> bool {
        self.xattr_count != 0
    }
}

impl Node {
    /// All but the number and the size.
    #[inline]
    pub fn compact(&self) -> CompactNode {
        CompactNode {
            address: self.address,
            xattr_count: self.xattr_count,
            file_type: self.file_type,
            format: self.format,
        }
    }

    /// Number of the inode, unique in its image.
    #[inline]
    pub fn nid(&self) -> u64 {
        self.nid
    }

    /// Size in bytes, as `stat` reports it.
    #[inline]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Type of the file.
    #[inline]
    pub fn file_type(&self) -> FileType {
        self.file_type
    }

    /// Whether this is a regular file whose content is in the store.
    #[inline]
    pub fn is_external(&self) -> bool {
        self.layout() == CHUNKS
    }

    /// Whether the inode has extended attributes.
    #[inline]
    pub fn has_xattrs(&self) -> bool {
        self.xattr_count != 0
    }

    /// Whether the last block of the data, full or not, follows the inode.
    #[inline]
    pub(super) fn has_tail(&self) -> bool {
        self.layout() == INLINE
    }

    /// First block of the data, not counting the tail.
    #[inline]
    pub(super) fn data_block(&self) -> u64 {
        u64::from(self.address)
    }

    /// Position of the attribute area.
    #[inline]
    pub(super) fn xattr_pos(&self) -> u64 {
        let size = if u16::from(self.format) & EXTENDED != 0 {
            EXTENDED_SIZE
        } else {
            COMPACT_SIZE
        };
        self.nid
            .saturating_mul(SLOT_SIZE)
            .saturating_add(size as u64)
    }

    /// First position past the attribute area: that of the tail, or of the chunk pointers.
    #[inline]
    pub(super) fn xattr_end(&self) -> u64 {
        let size = match self.xattr_count {
            0 => 0,
            // The header counts as one word.
            count => u64::from(count)
                .saturating_sub(1)
                .saturating_mul(xattr::ALIGNMENT as u64)
                .saturating_add(xattr::HEADER_SIZE as u64),
        };
        self.xattr_pos().saturating_add(size)
    }

    #[inline]
    fn layout(&self) -> u16 {
        u16::from(self.format) & LAYOUT
    }
}

/// An inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inode {
    /// Where the parts of the file are.
    pub node: Node,
    /// Type and permissions.
    pub mode: u16,
    /// Number of names, as the writer counted them. For a directory that counts less than other
    /// file systems do.
    pub nlink: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Modification time, which serves as every other time too.
    pub mtime: Time,
    /// Device number of a device as the kernel's `new_encode_dev` makes it, else 0.
    pub rdev: u32,
}

impl Inode {
    /// Major number of a device.
    pub fn major(&self) -> u32 {
        (self.rdev & 0xf_ff00) >> 8
    }

    /// Minor number of a device.
    pub fn minor(&self) -> u32 {
        (self.rdev & 0xff) | ((self.rdev >> 12) & 0xf_ff00)
    }

    /// Whether this is a whiteout: it says that the name does not exist.
    #[inline]
    pub fn is_whiteout(&self) -> bool {
        self.node.file_type == FileType::CharDevice && self.rdev == 0
    }
}

impl<S: Source> Image<S> {
    /// Reads inode `nid` and checks all that it says about itself: format, type, and that its parts
    /// lie in the image.
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`] or [`Error::Corrupt`], or the source's.
    #[inline]
    pub fn inode(&self, nid: u64) -> Result<Inode, S::Error> {
        read(&mut Window::new(self), nid)
    }
}

/// Reads inode `nid` through `window`.
pub(super) fn read<S: Source>(window: &mut Window<'_, S>, nid: u64) -> Result<Inode, S::Error> {
    let image = window.image().superblock();
    let pos = nid.saturating_mul(SLOT_SIZE);
    if pos < superblock::END {
        return Err(Error::Corrupt("inode number of a place before the inodes").into());
    }
    let bytes = window.bytes(pos)?;
    let mut raw = Raw::common(bytes).ok_or(SHORT_BLOCK)?;
    if raw.format & EXTENDED == 0 {
        raw.compact(bytes, image.build_time()).ok_or(SHORT_BLOCK)?;
    } else {
        raw.extended_first(bytes).ok_or(SHORT_BLOCK)?;
        let second = match bytes.get(MIDDLE..) {
            Some(second) if !second.is_empty() => second,
            _ => window.bytes(pos.saturating_add(MIDDLE as u64))?,
        };
        raw.extended_second(second).ok_or(SHORT_BLOCK)?;
    }
    Ok(raw.check(nid, image)?)
}

/// The fields of an inode of either form, as stored.
#[derive(Default)]
struct Raw {
    format: u16,
    xattr_count: u16,
    mode: u16,
    /// High bits of the block address in an extended inode, 0 in a compact one.
    address_high: u16,
    size: u64,
    address: u32,
    nlink: u32,
    uid: u32,
    gid: u32,
    mtime_sec: i64,
    mtime_nsec: u32,
}

impl Raw {
    /// What both forms have in the same place.
    #[inline]
    fn common(bytes: &[u8]) -> Option<Self> {
        Some(Self {
            format: at::FORMAT.read(bytes)?,
            xattr_count: at::XATTR_COUNT.read(bytes)?,
            mode: at::MODE.read(bytes)?,
            address: at::ADDRESS.read(bytes)?,
            ..Self::default()
        })
    }

    #[inline]
    fn compact(&mut self, bytes: &[u8], build_time: Time) -> Option<()> {
        self.nlink = u32::from(compact::NLINK.read(bytes)?);
        self.size = u64::from(compact::SIZE.read(bytes)?);
        // Composefs writers store 0 here; EROFS adds what it finds (fs/erofs/inode.c).
        let mtime = i64::from(compact::MTIME.read(bytes)?);
        self.mtime_sec = build_time.sec.wrapping_add(mtime);
        self.mtime_nsec = build_time.nsec;
        self.uid = u32::from(compact::UID.read(bytes)?);
        self.gid = u32::from(compact::GID.read(bytes)?);
        Some(())
    }

    #[inline]
    fn extended_first(&mut self, bytes: &[u8]) -> Option<()> {
        self.address_high = extended::ADDRESS_HIGH.read(bytes)?;
        self.size = extended::SIZE.read(bytes)?;
        self.uid = extended::UID.read(bytes)?;
        self.gid = extended::GID.read(bytes)?;
        Some(())
    }

    #[inline]
    fn extended_second(&mut self, bytes: &[u8]) -> Option<()> {
        self.mtime_sec = MTIME.read(bytes)? as i64;
        self.mtime_nsec = MTIME_NSEC.read(bytes)?;
        self.nlink = NLINK.read(bytes)?;
        Some(())
    }

    #[inline]
    fn check(&self, nid: u64, superblock: &Superblock) -> Result<Inode, Error> {
        if self.format & !FORMAT_KNOWN != 0 {
            return Err(Error::Unsupported("unknown inode format"));
        }
        if self.address_high != 0 {
            return Err(Error::Unsupported("inode with a 48-bit block address"));
        }
        let file_type =
            FileType::from_mode(self.mode).ok_or(Error::Corrupt("inode of no known file type"))?;
        if self.xattr_count == 1 {
            return Err(Error::Corrupt(
                "inode has an attribute area but no attributes",
            ));
        }
        let node = Node {
            nid,
            size: self.size,
            address: self.address,
            xattr_count: self.xattr_count,
            file_type,
            format: (self.format & FORMAT_KNOWN) as u8,
        };
        if node.xattr_end() > superblock.end() {
            return Err(Error::Corrupt("inode reaches past the end of the image"));
        }
        node.check_content(superblock)?;
        let rdev = match file_type {
            FileType::CharDevice | FileType::BlockDevice => self.address,
            _ => 0,
        };
        Ok(Inode {
            node,
            mode: self.mode,
            nlink: self.nlink,
            uid: self.uid,
            gid: self.gid,
            mtime: Time {
                sec: self.mtime_sec,
                nsec: self.mtime_nsec,
            },
            rdev,
        })
    }
}

impl Node {
    /// Checks that size and layout fit the type of the file, and that data which the image holds
    /// lies inside it.
    #[inline]
    fn check_content(&self, superblock: &Superblock) -> Result<(), Error> {
        match (self.file_type, self.layout()) {
            (FileType::Regular, CHUNKS) => self.check_chunks(),
            (FileType::Symlink, PLAIN | INLINE) => {
                if self.size == 0 || self.size > SYMLINK_MAX {
                    return Err(Error::Corrupt("symlink target is empty or too long"));
                }
                self.check_extents(superblock)
            }
            (FileType::Regular | FileType::Directory, PLAIN | INLINE) => {
                self.check_extents(superblock)
            }
            (
                FileType::CharDevice | FileType::BlockDevice | FileType::Fifo | FileType::Socket,
                PLAIN,
            ) if self.size == 0 => Ok(()),
            (
                FileType::CharDevice | FileType::BlockDevice | FileType::Fifo | FileType::Socket,
                _,
            ) => Err(Error::Corrupt("device, pipe or socket with content")),
            (_, CHUNKS) => Err(Error::Corrupt("external content of no regular file")),
            _ => Err(Error::Unsupported("compressed or unknown data layout")),
        }
    }

    fn check_chunks(&self) -> Result<(), Error> {
        // The upper half is reserved; for files near 8 PiB both writers leave part of a block
        // number in it.
        let format = (self.address & 0xffff) as u16;
        if format & !CHUNK_BITS != 0 {
            return Err(Error::Unsupported("chunk format with indexes"));
        }
        if self.size == 0 || self.size > i64::MAX as u64 {
            return Err(Error::Corrupt("size of an external file is out of range"));
        }
        Ok(())
    }

    /// Checks that blocks and tail lie in the image. Every size that passes is one that the image
    /// has room for.
    fn check_extents(&self, superblock: &Superblock) -> Result<(), Error> {
        let mut blocks = self.size.div_ceil(BLOCK_SIZE);
        if self.has_tail() && blocks != 0 {
            blocks = blocks.saturating_sub(1);
            let len = self.size.saturating_sub(blocks.saturating_mul(BLOCK_SIZE));
            let pos = self.xattr_end();
            if (pos % BLOCK_SIZE).saturating_add(len) > BLOCK_SIZE {
                return Err(Error::Corrupt("inline data straddles two blocks"));
            }
            if pos.saturating_add(len) > superblock.end() {
                return Err(Error::Corrupt(
                    "inline data reaches past the end of the image",
                ));
            }
        }
        if blocks == 0 {
            return Ok(());
        }
        // Block 0 holds header and superblock, never data.
        let end = self.data_block().saturating_add(blocks);
        if self.address == 0 || end > u64::from(superblock.blocks()) {
            return Err(Error::Corrupt("data blocks lie outside the image"));
        }
        Ok(())
    }
}
