// SPDX-License-Identifier: GPL-2.0-only
//! Makes a composefs image the root file system, in an initramfs. Which image, the kernel command
//! line says; where it and its objects are, and what can be written to, is as composefs-rs and bootc
//! lay them out on a disk:
//!
//! ```text
//! composefs/images/DIGEST                 the image, or a symlink to its object
//! composefs/objects/                      the objects
//! state/deploy/DIGEST/etc/{upper,work}    what is changed in /etc
//! state/deploy/DIGEST/var                 /var
//! ```
#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod arguments;
pub mod config;
mod directory;
mod root;
mod writable;

pub use root::{set_up, Place};
