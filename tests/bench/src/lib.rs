// SPDX-License-Identifier: GPL-2.0-only
//! The benchmark of the composefs driver: what each operation costs, beside composefs 1.0.8 (EROFS
//! and overlayfs), EROFS alone and plain ext4, on the same tree; and as users have it, beside the FUSE
//! server of composefs-rs.
//!
//! `composefs-bench` runs in a guest whose CPU executes one instruction per nanosecond, and prints
//! one line for each figure; see [`figure`]. `bench-report` turns those lines into a table, JSON
//! and a plot. `scripts/bench` does all of it.
#![forbid(unsafe_code)]

pub mod detached;
pub mod figure;
pub mod goals;
pub mod growth;
pub mod lazily;
pub mod memory;
pub mod meter;
pub mod mounting;
pub mod opening;
pub mod plot;
pub mod profile;
pub mod reading;
pub mod recorder;
pub mod starting;
pub mod system;
pub mod threads;
pub mod tree;
pub mod unprivileged;
pub mod walking;
