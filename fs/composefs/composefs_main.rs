// SPDX-License-Identifier: GPL-2.0-only

//! composefs: a read-only file system for verified images that share the content of their files.
//!
//! A mount is an image (`image.rs`: the metadata, in `format/`'s layout), a store (`store.rs`:
//! directories of objects that are named by their fs-verity digest; `proof.rs`: what objects must
//! prove) and a trust decision (`trust.rs`: what the image must prove; `signature.rs`: by whose
//! word; `policy.rs`: what the administrator asks of all images). `options.rs` reads them from the
//! mount options, `filesystem.rs` puts them together, and `shown.rs` is what `/proc/mounts` says of
//! them. Each kind of VFS object has a file of its own; `vfs/` is the only one with `unsafe` code.
//!
//! See `Documentation/filesystems/composefs.rst`.

#![deny(unsafe_code)]

mod digest;
mod directory;
mod export;
mod file;
mod filesystem;
#[allow(dead_code)] // The tools use more of the parser than the driver does.
mod format;
mod image;
mod inode;
mod options;
mod policy;
mod proof;
mod shown;
mod signature;
mod store;
mod superblock;
mod symlink;
mod trust;
mod uuid;
#[allow(unsafe_code)] // The only one.
mod vfs;
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

vfs::parameters::parameters! {
    "composefs",
    require_signatures: Latch, "Use signed images only; can be switched on, but not off";
    trust_system_keys: AtLoad, "Trust the kernel's built-in and secondary keyrings as well";
    image_signatures_only: AtLoad, "Take signatures of images, but not those of files";
}
