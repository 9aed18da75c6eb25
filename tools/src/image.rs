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
mod inode;
mod layout;
mod order;
mod sink;
mod writer;

use std::io::Write;

use anyhow::{anyhow, Context, Result};

use crate::fsverity::{Algorithm, Digest};
use crate::overlay;
use crate::quote;
use crate::tree::{NodeId, Tree};

/// Highest format version there is.
pub const VERSION_MAX: u32 = 1;

/// Ids from here on stand for special directory entries.
pub(crate) const FIRST_RESERVED_ID: NodeId = NodeId::MAX - 1;

const BLOCK_SIZE: u64 = 4096;
const BLOCK_BITS: u32 = 12;
/// Inodes are aligned to this, and numbered by it.
const SLOT_SIZE: u64 = 32;
const SUPERBLOCK_OFFSET: u64 = 1024;
const SUPERBLOCK_SIZE: u64 = 128;
/// Where the first inode goes.
const INODES_START: u64 = SUPERBLOCK_OFFSET + SUPERBLOCK_SIZE;
/// Longest tail of a file or directory that is put behind its inode.
const TAIL_MAX: u64 = BLOCK_SIZE / 2;

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

/// How a large file is described: in chunks of `1 << bits` bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Chunks {
    pub bits: u32,
    pub count: u32,
}

/// The fewest chunks that describe a file of `size` bytes, at least one.
pub(crate) fn chunks(size: u64) -> Chunks {
    // The format has five bits for the binary logarithm of the chunk size in blocks.
    const BITS_MAX: u32 = 31 + BLOCK_BITS;
    let bits = size.wrapping_sub(1).checked_ilog2().unwrap_or(0) + 1;
    let bits = bits.clamp(BLOCK_BITS, BITS_MAX);
    Chunks {
        bits,
        // At most 2^21: 64 - 43 bits.
        count: size.div_ceil(1 << bits) as u32,
    }
}

/// Checks that an image can describe a file of `size` bytes whose content is elsewhere.
///
/// # Errors
/// If it is larger than 8 PiB: one block of chunk addresses is all that composefs uses.
pub fn check_size(size: u64) -> Result<()> {
    const CHUNKS_MAX: u32 = 1024;
    if chunks(size).count > CHUNKS_MAX {
        return Err(anyhow!("a file of {size} bytes is larger than 8 PiB"));
    }
    Ok(())
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
    resolve_links(&mut tree)?;
    let order = order::Order::new(&tree)?;
    let layout = layout::Layout::new(&tree, &order)?;
    let mut sink = sink::Sink::new(out, options.digest);
    writer::write(&tree, &order, &layout, version, &mut sink)?;
    sink.finish()
}

/// Makes every hard link point at what it is a link to in the end, not at another link.
fn resolve_links(tree: &mut Tree) -> Result<()> {
    for id in tree.ids() {
        let Some(mut target) = tree.node(id).link() else {
            continue;
        };
        let mut hops = 0;
        while let Some(next) = tree.node(target).link() {
            target = next;
            hops += 1;
            if hops > tree.len() {
                return Err(anyhow!("hard links form a loop"))
                    .with_context(|| quote::bytes(&tree.path(id)).to_string());
            }
        }
        // The links on the way as well, so that each is followed once.
        let mut at = id;
        while let Some(next) = tree.node(at).link() {
            tree.set_link(at, target);
            at = next;
        }
    }
    Ok(())
}

/// The EROFS number of a file type.
fn file_type_number(mode: u32) -> u8 {
    use crate::tree::*;
    match mode & S_IFMT {
        S_IFREG => 1,
        S_IFDIR => 2,
        S_IFCHR => 3,
        S_IFBLK => 4,
        S_IFIFO => 5,
        S_IFSOCK => 6,
        S_IFLNK => 7,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::{Meta, ROOT, S_IFDIR, S_IFIFO};

    #[test]
    fn a_name_that_is_there_twice() {
        let meta = |mode| Meta {
            mode,
            ..Meta::default()
        };
        let mut tree = Tree::new();
        tree.add_root(meta(S_IFDIR)).expect("root");
        for name in [b"b", b"a", b"b"] {
            tree.add(ROOT, name, meta(S_IFIFO)).expect("entry");
        }
        let options = Options {
            min_version: 0,
            max_version: 1,
            digest: None,
        };
        let error = write(tree, &options, None).expect_err("no image");
        assert_eq!(format!("{error:#}"), "'/b': is there twice");
    }

    /// Followed anew for each of them, this would take minutes.
    #[test]
    fn a_long_chain_of_hard_links() {
        const LINKS: NodeId = 200_000;

        let meta = |mode| Meta {
            mode,
            ..Meta::default()
        };
        let mut tree = Tree::new();
        tree.add_root(meta(S_IFDIR)).expect("root");
        let file = tree.add(ROOT, b"file", meta(S_IFIFO)).expect("file");
        for number in 0..LINKS {
            let name = number.to_string();
            let id = tree.add(ROOT, name.as_bytes(), meta(S_IFIFO));
            assert_eq!(id.expect("link"), file + 1 + number);
        }
        for id in file + 1..file + LINKS {
            tree.set_link(id, id + 1);
        }
        tree.set_link(file + LINKS, file);
        resolve_links(&mut tree).expect("no loop");
        assert!((file + 1..=file + LINKS).all(|id| tree.node(id).link() == Some(file)));
    }

    #[test]
    fn chunk_sizes() {
        let of = |size| {
            let Chunks { bits, count } = chunks(size);
            (bits, count)
        };
        assert_eq!(of(1), (12, 1));
        assert_eq!(of(4096), (12, 1));
        assert_eq!(of(4097), (13, 1));
        assert_eq!(of(8192), (13, 1));
        assert_eq!(of(1 << 43), (43, 1));
        assert_eq!(of((1 << 43) + 1), (43, 2));
        assert_eq!(of(1 << 53), (43, 1024));
        assert_eq!(of((1 << 53) + 1), (43, 1025));
        assert_eq!(of(u64::MAX), (43, 1 << 21));
    }
}
