// SPDX-License-Identifier: GPL-2.0-only OR MIT
//! The composefs header at byte 0 and the EROFS superblock at byte 1024.

use super::bytes::{field, le16, le32, le64};
use super::{Error, Time, BLOCK_SIZE};

const HEADER_MAGIC: u32 = 0xd078_629a;
const HEADER_VERSION: u32 = 1;
const HEADER_FLAG_HAS_ACL: u32 = 1 << 0;
/// The newest format version, which composefs-rs writes; the C tool writes 0 and 1.
const NEWEST_COMPOSEFS_VERSION: u32 = 2;

const SUPERBLOCK_OFFSET: usize = 1024;
/// First byte after the superblock; no inode starts before it.
pub(super) const SUPERBLOCK_END: u64 = 1024 + 128;
const EROFS_MAGIC: u32 = 0xe0f5_e1e2;
const BLOCK_SIZE_BITS: u8 = 12;

const COMPAT_SB_CHECKSUM: u32 = 0x1;
const COMPAT_MTIME: u32 = 0x2;
const COMPAT_XATTR_FILTER: u32 = 0x4;
/// The writers of composefs use chunk-based inodes, yet do not set this bit.
const INCOMPAT_CHUNKED_FILE: u32 = 0x4;

/// What an image says about itself as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Superblock {
    composefs_version: u32,
    flags: u32,
    root_nid: u16,
    xattr_filter: bool,
    blocks: u32,
    xattr_block: u32,
    inos: u64,
    build_time: Time,
    uuid: [u8; 16],
}

impl Superblock {
    /// Reads and checks header and superblock in the first block of an image.
    ///
    /// # Errors
    ///
    /// See [`Image::open`](super::Image::open).
    pub(super) fn parse(block: &[u8]) -> Result<Self, Error> {
        if le32(block, 0).is_none_or(|magic| magic != HEADER_MAGIC) {
            return Err(foreign(block));
        }
        let (Some(version), Some(flags), Some(composefs_version)) =
            (le32(block, 4), le32(block, 8), le32(block, 12))
        else {
            return Err(TRUNCATED);
        };
        if version != HEADER_VERSION {
            return Err(Error::Unsupported("unknown composefs header version"));
        }
        if flags & !HEADER_FLAG_HAS_ACL != 0 {
            return Err(Error::Unsupported("unknown composefs header flags"));
        }
        if composefs_version > NEWEST_COMPOSEFS_VERSION {
            return Err(Error::Unsupported("unknown composefs format version"));
        }
        let erofs = block
            .get(SUPERBLOCK_OFFSET..)
            .and_then(<[u8]>::first_chunk::<128>)
            .ok_or(TRUNCATED)?;
        check_features(erofs).unwrap_or(Err(TRUNCATED))?;
        Self::fields(erofs, flags, composefs_version).ok_or(TRUNCATED)
    }

    /// The fields that are kept; `None` cannot happen, as `erofs` is long enough for each.
    fn fields(erofs: &[u8; 128], flags: u32, composefs_version: u32) -> Option<Self> {
        let compat = le32(erofs, 8)?;
        let build_time = Time {
            // The sign is EROFS's: times before 1970 are stored as negative numbers.
            sec: le64(erofs, 24)? as i64,
            nsec: le32(erofs, 32)?,
        };
        Some(Self {
            composefs_version,
            flags,
            root_nid: le16(erofs, 14)?,
            // A reserved byte other than 0 says that the filter means something else (fs/erofs/xattr.c).
            xattr_filter: compat & COMPAT_XATTR_FILTER != 0 && *erofs.get(104)? == 0,
            blocks: le32(erofs, 36)?,
            xattr_block: le32(erofs, 44)?,
            inos: le64(erofs, 16)?,
            build_time,
            uuid: field(erofs, 48)?,
        })
    }

    /// Version of the composefs format: 0, 1 or 2.
    pub fn composefs_version(&self) -> u32 {
        self.composefs_version
    }

    /// Whether any file has a POSIX ACL. Without, the image is to be used as if ACLs did not exist.
    pub fn has_acl(&self) -> bool {
        self.flags & HEADER_FLAG_HAS_ACL != 0
    }

    /// Number of the root directory's inode.
    pub fn root_nid(&self) -> u64 {
        u64::from(self.root_nid)
    }

    /// Modification time of every compact inode.
    pub fn build_time(&self) -> Time {
        self.build_time
    }

    /// Size of the image in blocks of [`BLOCK_SIZE`] bytes.
    pub fn blocks(&self) -> u32 {
        self.blocks
    }

    /// How many inodes the writer says there are.
    pub fn inos(&self) -> u64 {
        self.inos
    }

    /// UUID of the file system; composefs writers leave it zero.
    pub fn uuid(&self) -> [u8; 16] {
        self.uuid
    }

    /// Whether inodes carry a filter of the attribute names that they lack.
    pub fn xattr_filter(&self) -> bool {
        self.xattr_filter
    }

    /// First position past the blocks that the image is made of.
    #[inline]
    pub(super) fn end(&self) -> u64 {
        u64::from(self.blocks).saturating_mul(BLOCK_SIZE)
    }

    /// Position that the numbers of shared attributes count from.
    #[inline]
    pub(super) fn shared_xattrs(&self) -> u64 {
        u64::from(self.xattr_block).saturating_mul(BLOCK_SIZE)
    }
}

pub(super) const TRUNCATED: Error = Error::Corrupt("image is truncated");

/// What to say of a file that has no composefs header.
fn foreign(block: &[u8]) -> Error {
    match le32(block, SUPERBLOCK_OFFSET) {
        Some(EROFS_MAGIC) => Error::NotComposefs("EROFS image without a composefs header"),
        _ => Error::NotComposefs("no composefs header"),
    }
}

/// Refuses what composefs images do not use; `None` cannot happen, as `erofs` is long enough.
fn check_features(erofs: &[u8; 128]) -> Option<Result<(), Error>> {
    let unsupported = |reason| Some(Err(Error::Unsupported(reason)));

    if le32(erofs, 0)? != EROFS_MAGIC {
        return Some(Err(Error::Corrupt("no EROFS superblock")));
    }
    let compat = le32(erofs, 8)?;
    if compat & COMPAT_SB_CHECKSUM != 0 {
        return unsupported("EROFS superblock checksum");
    }
    if compat & !(COMPAT_MTIME | COMPAT_XATTR_FILTER) != 0 {
        return unsupported("unknown compatible EROFS features");
    }
    if *erofs.get(12)? != BLOCK_SIZE_BITS || *erofs.get(90)? != 0 {
        return unsupported("EROFS block size other than 4096");
    }
    if *erofs.get(13)? != 0 {
        return unsupported("extended EROFS superblock");
    }
    if le32(erofs, 40)? != 0 {
        return unsupported("EROFS metadata that does not start in block 0");
    }
    if le32(erofs, 80)? & !INCOMPAT_CHUNKED_FILE != 0 {
        return unsupported("incompatible EROFS features");
    }
    if le16(erofs, 84)? != 0 {
        return unsupported("EROFS compression");
    }
    if le16(erofs, 86)? != 0 {
        return unsupported("EROFS device table");
    }
    if *erofs.get(91)? != 0 {
        return unsupported("EROFS attribute name prefixes");
    }
    if le64(erofs, 96)? != 0 {
        return unsupported("EROFS packed inode");
    }
    Some(Ok(()))
}
