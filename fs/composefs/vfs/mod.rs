// SPDX-License-Identifier: GPL-2.0-only

//! Sound, safe abstractions over the Linux VFS, as much of it as a read-only file system needs that
//! takes its metadata from one file and the content of its files from others.
//!
//! This is the only place of the driver with `unsafe` code. It knows nothing of composefs. What
//! differs between kernel versions ends here, in the C files and `error.rs`.
//!
//! A file system implements [`FileSystem`], and one trait for each kind of object that it has:
//! [`directory::Operations`], [`symlink::Operations`], [`inline_file::Operations`],
//! [`backed_file::Operations`]. [`Module`] is the kernel module around it.

mod acl;
pub(crate) mod audit;
pub(crate) mod backed_file;
pub(crate) mod backing;
mod bindings;
pub(crate) mod buffer;
pub(crate) mod context;
pub(crate) mod credential;
mod dentry;
pub(crate) mod directory;
pub(crate) mod error;
pub(crate) mod export;
pub(crate) mod filesystem;
pub(crate) mod frozen_file;
pub(crate) mod inline_file;
pub(crate) mod inode;
mod inode_operations;
pub(crate) mod keyring;
pub(crate) mod log;
mod module;
mod mount;
pub(crate) mod named;
pub(crate) mod once;
pub(crate) mod parameters;
pub(crate) mod path;
pub(crate) mod readable_file;
mod registration;
mod regular_file;
mod special;
pub(crate) mod stable_bytes;
pub(crate) mod stacking;
mod super_operations;
pub(crate) mod superblock;
pub(crate) mod symlink;
pub(crate) mod verity;
pub(crate) mod whole_file;
pub(crate) mod xattr;

pub(crate) use self::module::Module;
