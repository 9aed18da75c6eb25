// SPDX-License-Identifier: GPL-2.0-only
//! Writing images: the EROFS layout that composefs 1.0 defined, byte for byte.
//!
//! Two passes over the tree in breadth-first order: the first finds where each inode lies
//! ([`layout`]), the second writes everything out in order ([`writer`]), so an image is streamed
//! and never held in memory.
//!
//! ```text
//! 0            composefs header
//! 1024         EROFS superblock
//! 1152         inodes, each followed by its xattrs and, if it fits, the tail of its data
//! inodes end   xattrs that several inodes share
//! block        data of inodes that is not a tail, in whole blocks
//! ```
//!
//! Source: `fs/erofs/erofs_fs.h` in the kernel, and what composefs 1.0.8 writes.

mod directory;
mod layout;
mod links;
mod order;
mod shape;
mod sharing;
mod sink;
mod writer;

use std::io::Write;

use anyhow::{anyhow, Result};

use crate::fsverity::{Algorithm, Digest};
use crate::overlay;
use crate::tree::Tree;
use layout::Layout;
use order::Order;
use sharing::Sharing;
use sink::Sink;
use writer::Plan;

/// Highest format version there is.
pub const VERSION_MAX: u32 = 1;

/// What to write.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Lowest format version to use.
    pub min_version: u32,
    /// Format version to go up to where the tree is better off with it.
    pub max_version: u32,
    /// Compute the fs-verity digest of the image with this algorithm.
    pub digest: Option<Algorithm>,
}

/// Writes `tree` as an image to `out` (nowhere, if only the digest is wanted). Returns the digest
/// if `options` ask for it.
///
/// # Errors
/// If the versions are not ones, the tree cannot be an image, or writing fails.
pub fn write(
    mut tree: Tree,
    options: &Options,
    out: Option<&mut dyn Write>,
) -> Result<Option<Digest>> {
    if options.min_version > VERSION_MAX || options.max_version > VERSION_MAX {
        return Err(anyhow!("image format versions are 0 to {VERSION_MAX}"));
    }
    let version = if options.max_version > options.min_version && overlay::has_whiteouts(&tree) {
        options.max_version
    } else {
        options.min_version
    };
    overlay::rewrite(&mut tree, version)?;
    links::resolve(&mut tree)?;
    let order = Order::new(&tree)?;
    directory::measure(&mut tree, &order);
    let sharing = Sharing::new(&tree, &order);
    let layout = Layout::new(&tree, &order, &sharing)?;
    let plan = Plan {
        tree: &tree,
        order: &order,
        sharing: &sharing,
        layout: &layout,
    };
    let mut sink = Sink::new(out, options.digest);
    writer::write(plan, version, &mut sink)?;
    sink.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::{FileType, Meta, ROOT};

    #[test]
    fn a_name_that_is_there_twice() {
        let mut tree = Tree::new();
        let root = tree.add_root(Meta::new(FileType::Directory, 0o755));
        assert_eq!(root.expect("root"), ROOT);
        for name in [b"b", b"a", b"b"] {
            let fifo = Meta::new(FileType::Fifo, 0o644);
            tree.add(ROOT, name, fifo).expect("entry");
        }
        let options = Options {
            min_version: 0,
            max_version: 1,
            digest: None,
        };
        let error = write(tree, &options, None).expect_err("no image");
        assert_eq!(format!("{error:#}"), "'/b': is there twice");
    }
}
