// SPDX-License-Identifier: GPL-2.0-only
//! What the driver must show, as multiples of what others need for the same.

use crate::figure::Figures;
use crate::system::System;

/// The most that an operation may cost.
#[derive(Clone, Copy, Debug)]
pub struct Goal {
    pub operation: &'static str,
    /// As a multiple of composefs 1.0.8's mount.
    pub incumbent: Option<f64>,
    /// As a multiple of plain ext4.
    pub ext4: Option<f64>,
}

const fn goal(operation: &'static str, incumbent: f64, ext4: Option<f64>) -> Goal {
    Goal {
        operation,
        incumbent: Some(incumbent),
        ext4,
    }
}

pub const GOALS: &[Goal] = &[
    goal("walk_cold", 0.48, Some(0.60)),
    goal("io_requests_cold", 0.50, None),
    goal("walk_warm", 0.80, Some(0.85)),
    goal("stat_warm", 0.66, Some(1.02)),
    goal("open_first", 0.90, None),
    goal("open_again", 0.52, Some(1.03)),
    goal("open_read", 0.65, Some(1.03)),
    goal("open_mmap", 0.90, Some(1.15)),
    goal("read_seq_warm", 0.98, Some(1.02)),
    // The blocks of a plain file are checked by nobody.
    goal("read_seq_cold", 0.98, None),
    goal("read_random", 0.98, Some(1.02)),
    goal("getxattr_hit", 0.60, None),
    goal("getxattr_miss", 0.60, None),
    goal("slab_walk", 0.52, None),
    goal("slab_open", 0.78, None),
    goal("mount_umount", 0.15, None),
    goal("mount_umount_syscalls", 0.40, None),
    goal("mount_umount_helper", 0.35, None),
    goal("open_one_2threads", 1.00, None),
    // What was recorded is read ahead.
    Goal {
        operation: "start_slow_ahead",
        incumbent: None,
        ext4: Some(0.50),
    },
];

/// What a mount by the service must show, as multiples of what root's costs; and, as far as that was
/// measured, of what root's costs with the same owners.
pub const BY_SERVICE: &[(&str, f64)] = &[
    ("walk_warm", 1.01),
    ("stat_warm", 1.01),
    ("open_first", 1.01),
    ("open_again", 1.01),
    ("open_read", 1.01),
    ("read_seq_cold", 1.01),
    ("read_seq_warm", 1.01),
    ("read_random", 1.01),
    ("mount_call", 3.0),
];

/// What is here must cost where a service would fetch what is not, as multiples of what it costs
/// without.
pub const LAZILY: &[(&str, f64)] = &[
    ("open_first", 1.01),
    ("open_again", 1.01),
    ("open_read", 1.01),
];

/// What the driver must show beside EROFS with the content of files in the image, as multiples of
/// what that costs with pages that are shared between images.
pub const BESIDE_DATA: &[(&str, f64)] = &[
    ("walk_cold", 1.00),
    ("open_first", 1.30),
    ("open_again", 1.00),
    ("open_read", 1.00),
    ("open_mmap", 1.00),
    ("exec", 1.00),
    ("read_seq_cold", 1.00),
    ("read_seq_warm", 1.00),
    ("read_random", 1.00),
    ("slab_open", 1.30),
    ("page_cache_open", 1.00),
    ("mount_umount", 1.00),
];

pub fn of(operation: &str) -> Option<&'static Goal> {
    GOALS.iter().find(|goal| goal.operation == operation)
}

/// The least that the cold walk is to ask of the disk at once, on average, in bytes.
pub const REQUEST_BYTES: f64 = 65536.0;

/// Bytes of a request of the driver's cold walk, on average.
pub fn request_bytes(figures: &Figures) -> Option<f64> {
    let ours = |operation| figures.get(operation)?.values.get(&System::Composefs);
    Some(ours("io_bytes_cold")? / ours("io_requests_cold")?)
}
