// SPDX-License-Identifier: GPL-2.0-only OR MIT
//! Tests of the parser on images that other tools have made, on damaged ones and on made-up ones.

mod builder;
mod damage;
mod digest;
mod directory;
mod dump;
mod mount_options;
mod named;
mod overlay;
mod panic_free;
mod signature;
mod source;
mod superblock;
mod support;
mod tree;
mod validation;
mod xattr;
