// SPDX-License-Identifier: GPL-2.0-only
//! OCI images in composefs repositories: from a registry or a directory to an image that can be
//! mounted, in the streams that composefs-rs has for them.
//!
//! [`pull()`] copies an image: its [`layer`]s become streams and objects; its configuration and its
//! manifest streams that refer to those; and [`filesystem`] makes the composefs image of the layers.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod check;
mod checked;
mod compression;
pub mod destination;
pub mod digest;
mod entry;
pub mod filesystem;
pub mod image;
pub mod layer;
pub mod layers;
pub mod manifest;
mod merge;
pub mod origin;
mod parser;
pub mod pull;
pub mod push;
pub mod reference;
pub mod referrer;
pub mod repair;
pub mod signed;
pub mod source;
mod sparse;
mod storing;
mod tag;
mod text;
mod there;

pub use pull::pull;
pub use push::push;
