// SPDX-License-Identifier: GPL-2.0-only
//! The library under `mkcomposefs` and `composefs-info`.
//!
//! A composefs image describes a file tree: metadata, small files and, for every larger file, the
//! fs-verity digest of the object that holds its content. [`walk`] makes a [`tree::Tree`] from a
//! directory and fills a [`store`]; [`image`] writes the tree out.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod bytes;
mod chunks;
pub mod cli;
pub mod contents;
mod copy;
pub mod dump;
pub mod environment;
pub mod fsverity;
mod hardlinks;
pub mod image;
pub mod info;
mod ingest;
pub mod journal;
mod limits;
pub mod lock;
pub mod measure;
pub mod mkcomposefs;
pub mod output;
pub mod overlay;
pub mod pipe;
pub mod progress;
pub mod quote;
pub mod read;
pub mod staged;
pub mod store;
mod structure;
pub mod tree;
pub mod verity;
pub mod version;
pub mod walk;
pub mod xattr;
