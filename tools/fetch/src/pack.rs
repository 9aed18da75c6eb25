// SPDX-License-Identifier: GPL-2.0-only
//! Many objects in one file, so that ten thousand of them are not ten thousand requests:
//! Documentation/export.md says what is where.

pub(crate) mod frame;
pub mod index;
pub mod list;
pub(crate) mod writer;

use composefs_tools::fsverity::Digest;

/// The directory of packs in an export.
pub const DIR: &str = "packs";

/// Where a pack of this name is, below [`DIR`].
pub fn pack_name(pack: &Digest) -> String {
    format!("{pack}.pack")
}

/// Where its index is.
pub fn index_name(pack: &Digest) -> String {
    format!("{pack}.idx")
}
