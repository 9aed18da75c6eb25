// SPDX-License-Identifier: GPL-2.0-only
//! Repositories of composefs images, as composefs-rs lays them out: either tool opens, checks and
//! collects what the other made.
//!
//! ```text
//! meta.json            which digests, and what else a tool has to know
//! objects/ab/cdef…     files, named by their fs-verity digests
//! images/DIGEST        images: links to objects
//! images/refs/…        names of images
//! streams/NAME         streams: links to objects
//! streams/refs/…       names of streams
//! origins/NAME         where a stream was fetched from, which only this project notes
//! signatures/DIGEST    the signature of an image without a stream, which only this project keeps
//! sources/DIGEST       who has the objects of an image that come when they are opened, the same
//! profiles/DIGEST      what programs read of an image when they start, the same
//! ```
//!
//! An image names the objects of its files; a stream is an object that names others, and holds what
//! is between them ([`stream`]). What no name leads to is removed by [`gc`].
#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod fsck;
pub mod gc;
mod links;
mod live;
mod meta;
mod notes;
mod objects;
mod origins;
pub mod profile;
pub mod repair;
mod repository;
mod signatures;
pub mod sources;
pub mod stream;
pub mod temporary;

pub use links::{Category, Link};
pub use meta::{ErofsFormats, Metadata};
pub use repository::{Made, Repository};
