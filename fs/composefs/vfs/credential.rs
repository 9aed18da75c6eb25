// SPDX-License-Identifier: GPL-2.0-only

//! Credentials that outlive the system call that brought them.
//!
//! C header: [`include/linux/cred.h`](srctree/include/linux/cred.h)

use super::bindings;
use core::ptr::NonNull;

/// A reference to the credentials of a task, kept to act on its behalf later.
///
/// # Invariants
///
/// Owns a reference to the `struct cred`.
pub(crate) struct Credential(NonNull<bindings::cred>);

// SAFETY: A `struct cred` that is in use by a task does not change; its reference count is atomic.
unsafe impl Send for Credential {}

// SAFETY: As for `Send`.
unsafe impl Sync for Credential {}

impl Credential {
    /// The subjective credentials of the current task.
    pub(crate) fn current() -> Self {
        // SAFETY: There are no preconditions. The pointer is not null, and comes with a reference.
        let ptr = unsafe { bindings::rust_vfs_current_cred() };

        // SAFETY: A task always has credentials.
        Self(unsafe { NonNull::new_unchecked(ptr.cast_mut()) })
    }

    /// Runs `f` with the current task acting with these credentials.
    pub(crate) fn scoped<R>(&self, f: impl FnOnce() -> R) -> R {
        // SAFETY: `self` keeps the credentials alive until they are replaced again below. Kernel
        // code does not unwind, so they are.
        let previous = unsafe { bindings::rust_vfs_override_creds(self.as_ptr()) };
        let result = f();

        // SAFETY: `previous` was in force in this task before; calls of this function nest, so what
        // is in force now is what was set above.
        unsafe { bindings::rust_vfs_revert_creds(previous) };
        result
    }

    pub(super) fn as_ptr(&self) -> *const bindings::cred {
        self.0.as_ptr()
    }
}

impl Drop for Credential {
    fn drop(&mut self) {
        // SAFETY: By the type invariant there is a reference to give back.
        unsafe { bindings::rust_vfs_put_cred(self.as_ptr()) };
    }
}
