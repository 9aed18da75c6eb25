// SPDX-License-Identifier: GPL-2.0-only
//! The dump format, composefs-dump(5): a tree as text, one line for each entry.
//!
//! Eleven fields separated by single spaces, then the xattrs:
//! `PATH SIZE MODE NLINK UID GID RDEV MTIME PAYLOAD CONTENT DIGEST [KEY=VALUE…]`. A field that is
//! not set is `-`; bytes that would be ambiguous are escaped. A mode that begins with `@` marks a
//! hard link, whose payload is the path that it links to.

mod escape;
mod names;
mod number;
mod reader;

pub use escape::{append_hex, Escape};
pub use reader::{read, Options};
