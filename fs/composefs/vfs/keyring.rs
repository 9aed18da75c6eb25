// SPDX-License-Identifier: GPL-2.0-only

//! Keyrings of the kernel's own, and the signatures that their keys vouch for.
//!
//! C headers: [`include/linux/key.h`](srctree/include/linux/key.h),
//! [`include/linux/verification.h`](srctree/include/linux/verification.h)

use super::bindings;
use core::ptr::NonNull;
use kernel::{
    error::{from_err_ptr, to_result},
    prelude::*,
};

/// A keyring that an administrator fills with X.509 certificates.
///
/// It has the permissions of `.fs-verity`: root (of the initial user namespace) may view, read,
/// search and add to it, and change or restrict it with `keyctl(1)`.
///
/// # Invariants
///
/// Owns a reference to a live keyring.
pub(crate) struct Keyring(NonNull<bindings::key>);

// SAFETY: Keyrings have their own locks, and may be used from any task.
unsafe impl Send for Keyring {}

// SAFETY: As for `Send`.
unsafe impl Sync for Keyring {}

impl Keyring {
    /// An empty keyring that `/proc/keys` shows by this name.
    pub(crate) fn new(name: &'static CStr) -> Result<Self> {
        // SAFETY: The name is NUL-terminated, and copied.
        let key = from_err_ptr(unsafe { bindings::rust_vfs_keyring_alloc(name.as_char_ptr()) })?;
        Ok(Self(NonNull::new(key).ok_or(ENOMEM)?))
    }

    /// Whether there is nothing in it.
    pub(crate) fn is_empty(&self) -> bool {
        // SAFETY: By the type invariant the keyring is live.
        unsafe { bindings::rust_vfs_keyring_is_empty(self.0.as_ptr()) }
    }

    /// Checks that the PKCS#7 message `signature` signs `data`, which is not part of it, with a key
    /// that is in this keyring, or that a chain of certificates leads to from one.
    ///
    /// # Errors
    ///
    /// Those of `verify_pkcs7_signature()`: [`ENOKEY`] if there is no such key, `EKEYREJECTED` if
    /// it did not sign this, [`EBADMSG`] or others if the message is malformed, `ENOPKG` if it
    /// needs an algorithm that the kernel does not have.
    pub(crate) fn verify(&self, data: &[u8], signature: &[u8]) -> Result {
        // SAFETY: By the type invariant the keyring is live.
        unsafe { verify(data, signature, self.0.as_ptr()) }
    }

    /// As [`verify()`](Self::verify), with the certificates that were built into the kernel and
    /// those that they have vouched for.
    pub(crate) fn verify_by_system(data: &[u8], signature: &[u8]) -> Result {
        // SAFETY: Null stands for those.
        unsafe { verify(data, signature, core::ptr::null_mut()) }
    }
}

/// # Safety
///
/// `keyring` must be live, or null.
unsafe fn verify(data: &[u8], signature: &[u8], keyring: *mut bindings::key) -> Result {
    // SAFETY: The slices are of these lengths, and the caller vouches for the keyring.
    to_result(unsafe {
        bindings::rust_vfs_verify_pkcs7(
            data.as_ptr().cast(),
            data.len(),
            signature.as_ptr().cast(),
            signature.len(),
            keyring,
        )
    })
}

impl Drop for Keyring {
    fn drop(&mut self) {
        // A user may have linked to it from elsewhere. It is to be of no use there any more, and to
        // let go of its keys.
        // SAFETY: By the type invariant the keyring is live, and there is a reference to give back.
        unsafe {
            bindings::key_revoke(self.0.as_ptr());
            bindings::key_put(self.0.as_ptr());
        }
    }
}
