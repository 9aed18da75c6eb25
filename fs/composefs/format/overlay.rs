// SPDX-License-Identifier: GPL-2.0-only OR MIT
//! Names of extended attributes as overlayfs shows those of a lower layer
//! (`fs/overlayfs/xattrs.c`).
//!
//! An overlay mounted without `userxattr` keeps `trusted.overlay.*` to itself. What a file has of
//! these for others to see is stored escaped, with another `overlay.` inserted:
//! `trusted.overlay.overlay.opaque` is shown as `trusted.overlay.opaque`. Other names,
//! `user.overlay.*` among them, are shown as they are.

use super::{disk, XattrIndex};

const PRIVATE: &[u8] = XattrIndex::Trusted.rest(disk::overlay::PRIVATE);
const ESCAPED: &[u8] = XattrIndex::Trusted.rest(disk::overlay::ESCAPED);

/// A name after its prefix, in two parts: it is `head` followed by `tail`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredName<'a> {
    /// Its first part, which may be empty.
    pub head: &'static [u8],
    /// The rest.
    pub tail: &'a [u8],
}

/// What users see of the stored attribute with the prefix `index` and `name` after it: the name
/// after the same prefix, or `None` if they do not see it.
///
/// Hidden too is what EROFS has no handler for: `lustre.` and names stored whole.
pub fn visible_name(index: XattrIndex, name: &[u8]) -> Option<&[u8]> {
    match index {
        XattrIndex::Trusted if name.starts_with(ESCAPED) => name.get(PRIVATE.len()..),
        XattrIndex::Trusted if name.starts_with(PRIVATE) => None,
        XattrIndex::Lustre | XattrIndex::Unprefixed => None,
        _ => Some(name),
    }
}

/// The reverse of [`visible_name`]: where to look for the attribute that users ask for by the
/// prefix `index` and `name` after it.
pub fn stored_name(index: XattrIndex, name: &[u8]) -> StoredName<'_> {
    match name.strip_prefix(PRIVATE) {
        Some(tail) if index == XattrIndex::Trusted => StoredName {
            head: ESCAPED,
            tail,
        },
        _ => StoredName {
            head: b"",
            tail: name,
        },
    }
}
