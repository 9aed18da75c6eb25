// SPDX-License-Identifier: GPL-2.0-only

//! Acting with the credentials of another task.
//!
//! C header: [`include/linux/cred.h`](srctree/include/linux/cred.h)

use super::bindings;
use core::ptr::NonNull;
use kernel::{cred::Credential, prelude::*, sync::aref::ARef};

/// The subjective credentials of the current task, kept to act on its behalf later.
pub(crate) fn current() -> ARef<Credential> {
    // SAFETY: There are no preconditions. A task always has credentials, and the pointer comes with
    // a reference. `Credential` is transparent over `struct cred`.
    unsafe {
        let cred = bindings::rust_vfs_current_cred().cast_mut();
        ARef::from_raw(NonNull::new_unchecked(cred.cast()))
    }
}

/// Those with which the current task may read files: without capabilities, unless it is root. It may
/// have them to mount, for somebody else who has none.
///
/// # Errors
///
/// [`ENOMEM`].
pub(crate) fn current_to_read() -> Result<ARef<Credential>> {
    // SAFETY: As for `current()`; a null pointer comes with no reference.
    unsafe {
        let cred = bindings::rust_vfs_current_cred_to_read().cast_mut();
        NonNull::new(cred.cast())
            .map(|cred| ARef::from_raw(cred))
            .ok_or(ENOMEM)
    }
}

/// Whether the current task could make device nodes.
pub(crate) fn may_make_devices() -> bool {
    // SAFETY: There are no preconditions.
    unsafe { bindings::rust_vfs_may_make_devices() }
}

/// Runs `f` with the current task acting with `credential`.
pub(crate) fn scoped<R>(credential: &Credential, f: impl FnOnce() -> R) -> R {
    // SAFETY: `credential` is alive until it is replaced again below. Kernel code does not unwind,
    // so it is.
    let previous = unsafe { bindings::rust_vfs_override_creds(credential.as_ptr()) };
    let result = f();

    // SAFETY: `previous` was in force in this task before; calls of this function nest, so what is
    // in force now is what was set above.
    unsafe { bindings::rust_vfs_revert_creds(previous) };
    result
}
