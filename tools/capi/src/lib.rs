// SPDX-License-Identifier: GPL-2.0-only
//! `libcomposefs.so.1`: the C interface of composefs 1.0, over the library of the tools.
//!
//! [`node`] is the tree that C programs build, [`load`] and [`image`] make it from files and
//! images, and images of it; all of that is safe code. `ffi` is what C sees of it: pointers, errno
//! and callbacks.
#![deny(unsafe_code)]

#[allow(unsafe_code)] // The only one.
mod ffi;
mod image;
mod load;
mod node;
mod verity;
