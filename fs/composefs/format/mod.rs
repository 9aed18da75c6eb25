// SPDX-License-Identifier: GPL-2.0-only OR MIT
//! Parser of composefs manifest images.
//!
//! An image is a 32-byte composefs header and an EROFS file system that holds metadata only: the
//! content of a larger regular file is an object in a store, named by the file's
//! `trusted.overlay.*` attributes. The layout follows `fs/erofs/erofs_fs.h` of the kernel; what the
//! writers of composefs never produce (compression, devices, long attribute prefixes, 48-bit
//! addresses…) is refused.
//!
//! What else the driver has in common with programs that mount is here too: the values of the mount
//! options `verity=` ([`Verity`]) and `basedir=` ([`basedirs`]).
//!
//! This is one source for the kernel driver and the tools: it uses nothing but `core`, allocates
//! nothing, contains no unsafe code, and cannot panic whatever an image holds. Bytes come from a
//! [`Source`], one block at a time, and are used in place. Only what is asked for is looked at and
//! checked, so the cost of every call is bounded by the bytes that it concerns.

#![deny(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    clippy::todo,
    clippy::unimplemented,
    clippy::unreachable,
    clippy::unwrap_used
)]
// The kernel crate has this as a private module: there rustc wants no plain `pub`, and not all of
// it is in use.
#![allow(unreachable_pub, unused_imports)]

pub mod basedirs;
mod bytes;
mod data;
mod digest;
mod directory;
pub mod disk;
mod error;
mod external;
mod field;
mod file_type;
mod image;
mod inode;
mod named;
pub mod overlay;
mod signature;
mod source;
mod superblock;
mod verity;
mod xattr;
mod xattr_name;
mod xxh32;

pub use digest::{Algorithm, Digest, InvalidDigest};
pub use directory::{DirEntry, Entry};
pub use disk::BLOCK_SIZE;
pub use error::Error;
pub use external::External;
pub use file_type::FileType;
pub use image::Image;
pub use inode::{CompactNode, Inode, Node, Time};
pub use named::{NidSet, Search};
pub use signature::{FormattedDigest, MalformedSignature, Signer, MAX_SIGNATURE_SIZE};
pub use source::Source;
pub use superblock::Superblock;
pub use verity::Verity;
pub use xattr::XattrValue;
pub use xattr_name::{XattrFilter, XattrIndex};
