// SPDX-License-Identifier: GPL-2.0-only
//! io_uring, for scripts of [`python`](crate::python).

/// A ring, with the system calls and structures of linux/io_uring.h.
pub const RING: &str = include_str!("../python/io_uring.py");
