// SPDX-License-Identifier: GPL-2.0-only
//! The versions of the format.
//!
//! Versions 0 and 1 are composefs 1.0's, and version 2 is how composefs-rs laid out images before
//! it took those over. What they differ in:
//!
//! | | 0 and 1 | 2 |
//! | --- | --- | --- |
//! | inodes | compact where the fields have room, breadth first | extended, depth first |
//! | inode of a file with several names | where the source has the file | at its first name |
//! | link counts of files | those of the source | names in the tree |
//! | nanoseconds of times | kept | lost |
//! | number in an inode | of the sequence | of the slot |
//! | tails | half a block at most | all that is not a directory's |
//! | files elsewhere | in the fewest chunks | in one, whose address is there if there is a digest |
//! | xattrs of an inode | by name | by name, but first those that say where the content is |
//! | shared xattrs | descending by name, counted from the block they begin in | ascending by number of the prefix, counted from the image's start |
//! | `lustre.` | no prefix | a prefix |
//! | whiteouts | escaped, and one for each directory of a store | left alone |
//! | root | marked opaque | left alone |
//! | header | says if there are ACLs | does not |
//! | superblock | has the earliest time | has none |

use anyhow::{anyhow, Result};
use composefs_format::disk::header;

/// Highest format version of composefs 1.0.
pub const VERSION_MAX_C: u32 = header::NEWEST_C_FORMAT;
/// Highest format version that there is.
pub const VERSION_MAX: u32 = header::NEWEST_FORMAT;

/// A version of the format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(u32);

impl Version {
    /// The one to make an image in: the lowest that is allowed, or, where there are whiteouts, the
    /// highest, if those are composefs 1.0's.
    ///
    /// # Errors
    /// If there are no such versions.
    pub fn choose(min: u32, max: u32, has_whiteouts: impl FnOnce() -> bool) -> Result<Self> {
        if min > VERSION_MAX || max > VERSION_MAX {
            return Err(anyhow!("image format versions are 0 to {VERSION_MAX}"));
        }
        // Nothing is better off with another layout.
        if max > VERSION_MAX_C && min <= VERSION_MAX_C {
            return Err(anyhow!(
                "images get format version {max} only where it is the lowest allowed"
            ));
        }
        match max > min && has_whiteouts() {
            true => Ok(Self(max)),
            false => Ok(Self(min)),
        }
    }

    /// Its number, as in the header.
    pub fn number(self) -> u32 {
        self.0
    }

    /// Whether it is laid out as by composefs-rs, and not as by composefs 1.0.
    pub fn is_rs(self) -> bool {
        self.0 > VERSION_MAX_C
    }

    /// Whether directories with whiteouts have the marks that overlayfs reads since Linux 6.8.
    pub fn marks_whiteouts_twice(self) -> bool {
        self.0 == VERSION_MAX_C
    }
}
