// SPDX-License-Identifier: GPL-2.0-only

//! The kernel's C interface: what the `kernel` crate's bindings have, and
//! what this module's own `bindgen` run adds (see `../Makefile`).

#![allow(
    clippy::all,
    clippy::cast_lossless,
    clippy::ptr_as_ptr,
    clippy::ref_as_ptr,
    clippy::undocumented_unsafe_blocks,
    dead_code,
    improper_ctypes,
    missing_docs,
    non_camel_case_types,
    non_snake_case,
    non_upper_case_globals,
    unreachable_pub,
    unsafe_op_in_unsafe_fn,
    unused_imports
)]
#![cfg_attr(CONFIG_RUSTC_HAS_UNNECESSARY_TRANSMUTES, allow(unnecessary_transmutes))]

// The items below shadow those of the same name here: the crate knows some of
// the types only by name.
pub(super) use kernel::bindings::*;
use kernel::ffi;

include!(concat!(env!("COMPOSEFS_OBJ"), "/vfs/bindings_generated.rs"));
