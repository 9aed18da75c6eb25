// SPDX-License-Identifier: GPL-2.0-only
//! Header and superblock.

use composefs_format::{FileType, Superblock};

use crate::fields::number;

/// An image whose header and superblock are valid.
pub(super) struct Model<'a> {
    /// The blocks that the superblock counts, and no more.
    pub bytes: &'a [u8],
}

/// Fields of header and superblock: position, length, largest valid value. Those of flags may have these bits.
const LIMITS: &[(usize, usize, u64)] = &[
    // The composefs header: version of the header (see below), version of the format.
    (12, 4, 2),
    // What of the superblock composefs does not use: extended superblock, first metadata block, compression, devices, larger directory
    // blocks, name prefixes, packed inode.
    (1024 + 13, 1, 0),
    (1024 + 40, 4, 0),
    (1024 + 84, 2, 0),
    (1024 + 86, 2, 0),
    (1024 + 90, 1, 0),
    (1024 + 91, 1, 0),
    (1024 + 96, 8, 0),
];
const VALUES: &[(usize, usize, u64)] = &[
    (0, 4, 0xd078_629a),
    (4, 4, 1),
    (1024, 4, 0xe0f5_e1e2),
    (1024 + 12, 1, 12),
];
const FLAGS: &[(usize, usize, u64)] = &[
    // Has ACLs.
    (8, 4, 1),
    // Times of inodes, filters of attribute names.
    (1024 + 8, 4, 2 | 4),
    // Files in chunks.
    (1024 + 80, 4, 4),
];

impl<'a> Model<'a> {
    pub fn open(file: &'a [u8]) -> Option<Self> {
        if file.len() < 1024 + 128 {
            return None;
        }
        let field = |at, len| number(file, at, len);
        let valid = VALUES
            .iter()
            .all(|&(at, len, value)| field(at, len) == value)
            && LIMITS
                .iter()
                .all(|&(at, len, limit)| field(at, len) <= limit)
            && FLAGS
                .iter()
                .all(|&(at, len, bits)| field(at, len) & !bits == 0);
        if !valid {
            return None;
        }
        let bytes = file.get(..field(1024 + 36, 4) as usize * 4096)?;
        let model = Self { bytes };
        let root = number(file, 1024 + 14, 2);
        (model.inode(root)?.file_type == FileType::Directory).then_some(model)
    }

    /// A field of the superblock.
    pub fn field(&self, at: usize, len: usize) -> u64 {
        number(self.bytes, 1024 + at, len)
    }

    /// The `len` bytes at `at`, if the image has them.
    pub fn at(&self, at: u128, len: u128) -> Option<&'a [u8]> {
        let range = usize::try_from(at).ok()?..usize::try_from(at + len).ok()?;
        self.bytes.get(range)
    }

    /// Whether inodes have filters of the names of attributes.
    pub fn has_filter(&self) -> bool {
        self.field(8, 4) & 4 != 0 && self.field(104, 1) == 0
    }

    pub fn compare_superblock(&self, fast: &Superblock) {
        assert_eq!(
            u64::from(fast.composefs_version()),
            number(self.bytes, 12, 4)
        );
        assert_eq!(u64::from(fast.has_acl()), number(self.bytes, 8, 4));
        assert_eq!(fast.root_nid(), self.field(14, 2));
        assert_eq!(fast.build_time().sec as u64, self.field(24, 8));
        assert_eq!(u64::from(fast.build_time().nsec), self.field(32, 4));
        assert_eq!(u64::from(fast.blocks()), self.field(36, 4));
        assert_eq!(fast.inos(), self.field(16, 8));
        assert_eq!(Some(&fast.uuid()[..]), self.at(1024 + 48, 16));
        assert_eq!(fast.xattr_filter(), self.has_filter());
    }
}
