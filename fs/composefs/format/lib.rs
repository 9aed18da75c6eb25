// SPDX-License-Identifier: GPL-2.0-only OR MIT
//! The composefs image parser as a crate of its own, for userspace.
//!
//! The kernel driver compiles the same sources as a module of its crate, so crate attributes stay
//! in this file.

#![no_std]
#![forbid(unsafe_code)]
#![warn(missing_docs)]

#[path = "mod.rs"]
mod format;

pub use format::*;
