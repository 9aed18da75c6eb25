// SPDX-License-Identifier: GPL-2.0-only OR MIT
//! Names of extended attributes as stored: a number for the prefix, and the rest; and the filter of
//! names in an inode.

use super::disk::xattr::{FILTER_BITS, FILTER_SEED};
use super::xxh32::xxh32;

/// The prefix of an attribute's name, which images store as a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum XattrIndex {
    /// None: the whole name is stored. EROFS neither lists nor finds such attributes.
    Unprefixed = 0,
    /// `user.`
    User = 1,
    /// `system.posix_acl_access`, nothing after it.
    PosixAclAccess = 2,
    /// `system.posix_acl_default`, nothing after it.
    PosixAclDefault = 3,
    /// `trusted.`
    Trusted = 4,
    /// `lustre.`; EROFS neither lists nor finds such attributes.
    Lustre = 5,
    /// `security.`
    Security = 6,
}

impl XattrIndex {
    /// The prefix itself.
    pub const fn prefix(self) -> &'static [u8] {
        match self {
            Self::Unprefixed => b"",
            Self::User => b"user.",
            Self::PosixAclAccess => b"system.posix_acl_access",
            Self::PosixAclDefault => b"system.posix_acl_default",
            Self::Trusted => b"trusted.",
            Self::Lustre => b"lustre.",
            Self::Security => b"security.",
        }
    }

    /// The bit of an inode's filter that the attribute with this prefix and `name` after it clears,
    /// 0 to 31.
    pub fn filter_bit(self, name: &[u8]) -> u32 {
        let seed = FILTER_SEED.wrapping_add(u32::from(self as u8));
        xxh32(name, seed) % FILTER_BITS
    }

    /// What follows this prefix in `name`, which begins with it: for constants.
    pub(super) const fn rest(self, name: &'static [u8]) -> &'static [u8] {
        name.split_at(self.prefix().len()).1
    }

    pub(super) fn from_disk(value: u8) -> Option<Self> {
        match value {
            0 => Some(Self::Unprefixed),
            1 => Some(Self::User),
            2 => Some(Self::PosixAclAccess),
            3 => Some(Self::PosixAclDefault),
            4 => Some(Self::Trusted),
            5 => Some(Self::Lustre),
            6 => Some(Self::Security),
            _ => None,
        }
    }
}

/// Which attributes an inode is known to lack, by the [`filter_bit`](XattrIndex::filter_bit) of
/// their names. No bit is set where the image has no filters, nor by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct XattrFilter(u32);

impl XattrFilter {
    /// The filter with these bits, which came from [`bits`](Self::bits).
    #[inline]
    pub fn from_bits(bits: u32) -> Self {
        Self(bits)
    }

    /// Its bits, for keeping.
    #[inline]
    pub fn bits(self) -> u32 {
        self.0
    }

    /// Whether an attribute is known not to be there, by its name as stored.
    #[inline]
    pub(super) fn excludes(self, index: XattrIndex, name: &[u8]) -> bool {
        self.0 != 0 && self.0 & (1 << index.filter_bit(name)) != 0
    }
}
