// SPDX-License-Identifier: GPL-2.0-only
//! Streams ("splitstreams"): a stream of bytes of which some are objects, and what it refers to.
//!
//! ```text
//! header   magic, algorithm, where the info is
//! info     where the rest is, what the stream is of, how long it is
//! digests of what it refers to by name
//! digests of the objects that are part of it
//! names    compressed: INDEX:NAME, each with a NUL behind it
//! content  compressed: bytes with their number in front, or the index of an object
//! ```

mod disk;
mod reader;
mod writer;

pub use reader::{Chunk, Reader};
pub use writer::Writer;

/// What a stream is of: eight letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContentType(pub [u8; 8]);
