// SPDX-License-Identifier: GPL-2.0-only

//! composefs: a read-only file system for verified images that share the
//! content of their files.
//!
//! A mount is an image (`image.rs`: the metadata, in `format/`'s layout), a
//! store (`objects.rs`: directories of objects that are named by their
//! fs-verity digest) and a trust decision (`trust.rs`: what the image and the
//! objects must prove). `params.rs` gets them from the mount options, and
//! `superblock.rs` puts them together. Each kind of VFS object has a file of
//! its own; `vfs/` is the only one with `unsafe` code.
//!
//! See `Documentation/filesystems/composefs.rst`.

#[deny(unsafe_code)]
mod directory;
#[deny(unsafe_code)]
mod file;
#[deny(unsafe_code)]
#[allow(dead_code, unused_imports)] // The tools use more of the parser than the driver does.
mod format;
#[deny(unsafe_code)]
mod image;
#[deny(unsafe_code)]
mod inode;
#[deny(unsafe_code)]
mod objects;
#[deny(unsafe_code)]
mod params;
#[deny(unsafe_code)]
mod superblock;
#[deny(unsafe_code)]
mod symlink;
#[deny(unsafe_code)]
mod trust;
mod vfs;
#[deny(unsafe_code)]
mod xattr;

use kernel::prelude::*;

/// The file system type.
struct Composefs;

module! {
    type: vfs::Module<Composefs>,
    name: "composefs",
    authors: ["The composefs-in-Rust developers"],
    description: "Read-only file system of verified images that share content",
    license: "GPL",
    alias: ["fs-composefs"],
}
