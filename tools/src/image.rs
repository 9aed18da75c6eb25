// SPDX-License-Identifier: GPL-2.0-only
//! Writing images: the EROFS layouts that composefs 1.0 and composefs-rs defined, byte for byte.
//!
//! Two passes over the inodes: the first finds where each lies ([`layout`]), the second writes
//! everything out in order ([`writer`]), so an image is streamed and never held in memory. What
//! the versions of the format differ in is told in [`crate::version`].
//!
//! ```text
//! 0            composefs header
//! 1024         EROFS superblock
//! 1152         inodes, each followed by its xattrs and, if it fits, the tail of its data
//! inodes end   xattrs that several inodes share
//! block        data of inodes that is not a tail, in whole blocks
//! ```
//!
//! Source: `fs/erofs/erofs_fs.h` in the kernel, and what composefs 1.0.8 and composefs-rs write.

mod directory;
mod layout;
mod links;
mod order;
mod shape;
mod sharing;
mod sink;
mod writer;

use std::io::Write;

use anyhow::Result;

use crate::fsverity::{Algorithm, Digest};
use crate::overlay;
use crate::tree::Tree;
use crate::version::Version;
use layout::Layout;
use order::Order;
use sharing::Sharing;
use sink::Sink;
use writer::Plan;

/// What to write.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Lowest format version to use.
    pub min_version: u32,
    /// Format version to go up to where the tree is better off with it. No tree is with version 2,
    /// which has to be the lowest, too.
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
    let (min, max) = (options.min_version, options.max_version);
    let version = Version::choose(min, max, || overlay::has_whiteouts(&tree))?;
    overlay::rewrite(&mut tree, version)?;
    links::resolve(&mut tree)?;
    if version.is_rs() {
        links::count(&mut tree);
        tree.pool.split_lustre(&tree.bytes);
    }
    let order = Order::new(&tree, version)?;
    directory::measure(&mut tree, &order);
    let sharing = Sharing::new(&tree, &order, version);
    let layout = Layout::new(&tree, &order, &sharing, version)?;
    let plan = Plan {
        version,
        tree: &tree,
        order: &order,
        sharing: &sharing,
        layout: &layout,
    };
    let mut sink = Sink::new(out, options.digest);
    writer::write(plan, &mut sink)?;
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
