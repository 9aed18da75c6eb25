// SPDX-License-Identifier: GPL-2.0-only
//! What an image says, entry by entry.

mod record;
mod source;
mod visit;

pub use record::Record;
pub use source::{open, open_file, Fault, Opened};
pub use visit::{visit, Entry, Filter};
