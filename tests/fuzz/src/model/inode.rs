// SPDX-License-Identifier: GPL-2.0-only
//! Inodes, and content that the image holds.

use composefs_format::FileType;

use crate::fields::number;
use crate::model::superblock::Model;

/// How the content of a file is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layout {
    /// In whole blocks.
    Plain,
    /// In whole blocks but the last, full or not, which follows the inode.
    Inline,
    /// Elsewhere.
    Chunks,
}

/// A valid inode.
pub(super) struct Inode {
    /// Its bytes.
    bytes: Vec<u8>,
    pub file_type: FileType,
    pub layout: Layout,
    size: u128,
    /// Where the attributes begin and end.
    pub area: (u128, u128),
    sec: i64,
    nsec: u64,
}

const REGULAR: u64 = 0o100_000;
const DIRECTORY: u64 = 0o040_000;
const SYMLINK: u64 = 0o120_000;

impl Inode {
    fn field(&self, at: usize, len: usize) -> u64 {
        number(&self.bytes, at, len)
    }

    fn is_extended(&self) -> bool {
        self.bytes.len() == 64
    }

    /// How many blocks there are besides the tail, and the length of that.
    fn parts(&self) -> (u128, u128) {
        match (self.layout, self.size) {
            (Layout::Chunks, _) | (_, 0) => (0, 0),
            (Layout::Plain, size) => (size.div_ceil(4096), 0),
            (Layout::Inline, size) => ((size - 1) / 4096, (size - 1) % 4096 + 1),
        }
    }

    pub fn compare(&self, fast: &composefs_format::Inode) {
        assert_eq!(u128::from(fast.node.size()), self.size);
        assert_eq!(fast.node.file_type(), self.file_type);
        assert_eq!(fast.node.is_external(), self.layout == Layout::Chunks);
        assert_eq!(fast.node.has_xattrs(), self.area.0 != self.area.1);
        assert_eq!(u64::from(fast.mode), self.field(4, 2));
        let (nlink, uid, gid) = if self.is_extended() {
            (self.field(44, 4), self.field(24, 4), self.field(28, 4))
        } else {
            (self.field(6, 2), self.field(24, 2), self.field(26, 2))
        };
        assert_eq!(
            [fast.nlink, fast.uid, fast.gid].map(u64::from),
            [nlink, uid, gid]
        );
        assert_eq!(fast.mtime.sec, self.sec);
        assert_eq!(u64::from(fast.mtime.nsec), self.nsec);
        let device = self.field(16, 4);
        let is_device = matches!(self.file_type, FileType::CharDevice | FileType::BlockDevice);
        assert_eq!(u64::from(fast.rdev), if is_device { device } else { 0 });
        assert_eq!(fast.is_whiteout(), self.is_whiteout());
        // As new_decode_dev() of the kernel.
        assert_eq!(fast.major(), fast.rdev / 256 % 4096);
        assert_eq!(fast.minor(), fast.rdev % 256 + (fast.rdev >> 20 << 8));
    }

    pub fn is_whiteout(&self) -> bool {
        self.file_type == FileType::CharDevice && self.field(16, 4) == 0
    }
}

impl Model<'_> {
    /// Inode `nid`, if it is a valid one.
    pub fn inode(&self, nid: u64) -> Option<Inode> {
        let pos = u128::from(nid) * 32;
        if pos < 1024 + 128 {
            return None;
        }
        let format = number(self.at(pos, 2)?, 0, 2);
        let len = if format & 1 == 1 { 64 } else { 32 };
        let bytes = self.at(pos, len)?.to_vec();
        let field = |at, len| number(&bytes, at, len);
        let extended = len == 64;

        let layout = match format {
            0 | 1 => Layout::Plain,
            4 | 5 => Layout::Inline,
            8 | 9 => Layout::Chunks,
            _ => return None,
        };
        let kind = field(4, 2) & 0o170_000;
        let file_type = match kind {
            REGULAR => FileType::Regular,
            DIRECTORY => FileType::Directory,
            SYMLINK => FileType::Symlink,
            0o010_000 => FileType::Fifo,
            0o020_000 => FileType::CharDevice,
            0o060_000 => FileType::BlockDevice,
            0o140_000 => FileType::Socket,
            _ => return None,
        };
        let (size, sec, nsec) = if extended {
            // Block addresses have 32 bits.
            if field(6, 2) != 0 {
                return None;
            }
            (field(8, 8), field(32, 8) as i64, field(40, 4))
        } else {
            // Seconds after those of the superblock, in 64 bits as EROFS counts.
            let sec = (self.field(24, 8) as i64).wrapping_add(field(12, 4) as i64);
            (field(8, 4), sec, self.field(32, 4))
        };
        let area = pos + len;
        let words = u128::from(field(2, 2));
        let end = match words {
            0 => area,
            // The first word is the end of a header of twelve bytes, without attributes.
            1 => return None,
            _ => area + 12 + 4 * (words - 1),
        };
        self.at(area, end - area)?;
        let size = u128::from(size);
        let address = u128::from(field(16, 4));
        let fits = match (kind, layout) {
            (REGULAR, Layout::Chunks) => {
                // Chunks of 2^0 to 2^31 blocks, without indexes; the upper half is not looked at.
                field(16, 2) < 32 && size != 0 && size < 1 << 63
            }
            (_, Layout::Chunks) => false,
            (REGULAR | DIRECTORY, _) => true,
            (SYMLINK, _) => (1..=4095).contains(&size),
            (_, layout) => size == 0 && layout == Layout::Plain,
        };
        if !fits {
            return None;
        }
        let inode = Inode {
            bytes,
            file_type,
            layout,
            size,
            area: (area, end),
            sec,
            nsec,
        };
        let (blocks, tail) = inode.parts();
        if blocks != 0 && (address == 0 || self.at(address * 4096, blocks * 4096).is_none()) {
            return None;
        }
        // The tail lies in one block.
        if tail != 0 && (self.at(end, tail).is_none() || end / 4096 != (end + tail - 1) / 4096) {
            return None;
        }
        Some(inode)
    }

    /// The content of a file whose content the image holds.
    pub fn content(&self, inode: &Inode) -> Vec<u8> {
        let (blocks, tail) = inode.parts();
        let address = u128::from(inode.field(16, 4)) * 4096;
        let mut content = match blocks {
            0 => Vec::new(),
            _ => self
                .at(address, blocks * 4096)
                .expect("was checked")
                .to_vec(),
        };
        content.truncate(inode.size as usize);
        if tail != 0 {
            content.extend_from_slice(self.at(inode.area.1, tail).expect("was checked"));
        }
        assert_eq!(content.len() as u128, inode.size);
        content
    }
}
