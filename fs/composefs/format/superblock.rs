// SPDX-License-Identifier: GPL-2.0-only OR MIT
//! The composefs header at byte 0 and the EROFS superblock at byte 1024.

use super::disk::superblock::{
    self as disk, at, COMPAT_CHECKSUM, COMPAT_MTIME, COMPAT_XATTR_FILTER, INCOMPAT_CHUNKED_FILE,
};
use super::disk::{header, BLOCK_BITS};
use super::{Error, Time, BLOCK_SIZE};

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
        if header::at::MAGIC.read(block) != Some(header::MAGIC) {
            return Err(foreign(block));
        }
        let (Some(version), Some(flags), Some(composefs_version)) = (
            header::at::VERSION.read(block),
            header::at::FLAGS.read(block),
            header::at::FORMAT.read(block),
        ) else {
            return Err(TRUNCATED);
        };
        if version != header::VERSION {
            return Err(Error::Unsupported("unknown composefs header version"));
        }
        if flags & !header::HAS_ACL != 0 {
            return Err(Error::Unsupported("unknown composefs header flags"));
        }
        if composefs_version > header::NEWEST_FORMAT {
            return Err(Error::Unsupported("unknown composefs format version"));
        }
        let erofs = block
            .get(disk::OFFSET..)
            .and_then(<[u8]>::first_chunk)
            .ok_or(TRUNCATED)?;
        check_features(erofs).unwrap_or(Err(TRUNCATED))?;
        Self::fields(erofs, flags, composefs_version).ok_or(TRUNCATED)
    }

    /// The fields that are kept; `None` cannot happen, as `erofs` is long enough for each.
    fn fields(erofs: &[u8; disk::SIZE], flags: u32, composefs_version: u32) -> Option<Self> {
        let compat = at::COMPAT.read(erofs)?;
        let build_time = Time {
            // The sign is EROFS's: times before 1970 are stored as negative numbers.
            sec: at::BUILD_TIME.read(erofs)? as i64,
            nsec: at::BUILD_TIME_NSEC.read(erofs)?,
        };
        Some(Self {
            composefs_version,
            flags,
            root_nid: at::ROOT_NID.read(erofs)?,
            xattr_filter: compat & COMPAT_XATTR_FILTER != 0
                && at::XATTR_FILTER_RESERVED.read(erofs)? == 0,
            blocks: at::BLOCKS.read(erofs)?,
            xattr_block: at::XATTR_BLOCK.read(erofs)?,
            inos: at::INOS.read(erofs)?,
            build_time,
            uuid: at::UUID.read(erofs)?,
        })
    }

    /// Version of the composefs format: 0, 1 or 2.
    pub fn composefs_version(&self) -> u32 {
        self.composefs_version
    }

    /// Whether any file has a POSIX ACL. Without, the image is to be used as if ACLs did not exist.
    pub fn has_acl(&self) -> bool {
        self.flags & header::HAS_ACL != 0
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
    let erofs = block.get(disk::OFFSET..).unwrap_or_default();
    match at::MAGIC.read(erofs) {
        Some(disk::MAGIC) => Error::NotComposefs("EROFS image without a composefs header"),
        _ => Error::NotComposefs("no composefs header"),
    }
}

/// Refuses what composefs images do not use; `None` cannot happen, as `erofs` is long enough.
fn check_features(erofs: &[u8; disk::SIZE]) -> Option<Result<(), Error>> {
    let unsupported = |reason| Some(Err(Error::Unsupported(reason)));

    if at::MAGIC.read(erofs)? != disk::MAGIC {
        return Some(Err(Error::Corrupt("no EROFS superblock")));
    }
    let compat = at::COMPAT.read(erofs)?;
    if compat & COMPAT_CHECKSUM != 0 {
        return unsupported("EROFS superblock checksum");
    }
    if compat & !(COMPAT_MTIME | COMPAT_XATTR_FILTER) != 0 {
        return unsupported("unknown compatible EROFS features");
    }
    if at::BLOCK_BITS.read(erofs)? != BLOCK_BITS || at::DIRECTORY_BLOCK_BITS.read(erofs)? != 0 {
        return unsupported("EROFS block size other than 4096");
    }
    if at::EXTENSION.read(erofs)? != 0 {
        return unsupported("extended EROFS superblock");
    }
    if at::META_BLOCK.read(erofs)? != 0 {
        return unsupported("EROFS metadata that does not start in block 0");
    }
    if at::INCOMPAT.read(erofs)? & !INCOMPAT_CHUNKED_FILE != 0 {
        return unsupported("incompatible EROFS features");
    }
    if at::COMPRESSION.read(erofs)? != 0 {
        return unsupported("EROFS compression");
    }
    if at::DEVICES.read(erofs)? != 0 {
        return unsupported("EROFS device table");
    }
    if at::XATTR_PREFIXES.read(erofs)? != 0 {
        return unsupported("EROFS attribute name prefixes");
    }
    if at::PACKED_NID.read(erofs)? != 0 {
        return unsupported("EROFS packed inode");
    }
    Some(Ok(()))
}
