// SPDX-License-Identifier: GPL-2.0-only

//! Messages about errors at run time: rate-limited, because what causes them may be under the
//! control of a user.
//!
//! C header: [`include/linux/ratelimit.h`](srctree/include/linux/ratelimit.h)

use super::bindings;
use core::ptr::NonNull;
use kernel::prelude::*;

/// How often one mount may have something to say: so that none takes that from another.
///
/// # Invariants
///
/// Owns a state that was initialised.
pub(crate) struct RateLimit(NonNull<bindings::ratelimit_state>);

// SAFETY: The state may be used, and freed, by any task.
unsafe impl Send for RateLimit {}

// SAFETY: The state has a lock of its own.
unsafe impl Sync for RateLimit {}

impl RateLimit {
    /// One of the kernel's default: 10 messages in 5 seconds.
    pub(crate) fn new() -> Result<Self> {
        // SAFETY: The function has no preconditions.
        let state = unsafe { bindings::rust_vfs_ratelimit_alloc() };

        // INVARIANT: It was just made.
        Ok(Self(NonNull::new(state).ok_or(ENOMEM)?))
    }

    /// Whether a message may be printed now.
    pub(crate) fn allows(&self) -> bool {
        // SAFETY: By the type invariant.
        unsafe { bindings::rust_vfs_ratelimit(self.0.as_ptr()) }
    }
}

impl Drop for RateLimit {
    fn drop(&mut self) {
        // SAFETY: By the type invariant; nobody uses it any more.
        unsafe { bindings::rust_vfs_ratelimit_free(self.0.as_ptr()) };
    }
}

/// Prints an error message to the kernel log unless a [`RateLimit`] has had too many.
macro_rules! pr_err_ratelimited {
    ($limit:expr, $($arg:tt)*) => {
        if $limit.allows() {
            ::kernel::pr_err!($($arg)*);
        }
    };
}

pub(crate) use pr_err_ratelimited;
