// SPDX-License-Identifier: GPL-2.0-only

//! Messages about errors at run time: rate-limited, because what causes them may be under the
//! control of a user.

use super::bindings;

/// Whether a message may be printed now: at most 10 in 5 seconds.
pub(crate) fn ratelimit() -> bool {
    // SAFETY: The function has no preconditions.
    unsafe { bindings::rust_vfs_ratelimit() }
}

/// Prints an error message to the kernel log unless there were too many.
macro_rules! pr_err_ratelimited {
    ($($arg:tt)*) => {
        if $crate::vfs::log::ratelimit() {
            ::kernel::pr_err!($($arg)*);
        }
    };
}

pub(crate) use pr_err_ratelimited;
