// SPDX-License-Identifier: GPL-2.0-only

//! Byte buffers and strings.
//!
//! `KVec` and `CStr` have methods that can panic on paths that are never taken; this module imports
//! no panic, so it does without those.

use super::bindings;
use core::{
    ops::{Deref, DerefMut},
    ptr::NonNull,
    slice,
};
use kernel::{prelude::*, str::CString};

/// A buffer of a fixed size, zeroed at first.
///
/// # Invariants
///
/// `data` owns `len` initialised bytes that came from `kvzalloc()`.
pub(crate) struct Buffer {
    data: NonNull<u8>,
    len: usize,
}

// SAFETY: A `Buffer` owns its memory, as a `Box<[u8]>` does.
unsafe impl Send for Buffer {}

// SAFETY: As for `Send`.
unsafe impl Sync for Buffer {}

impl Buffer {
    /// A buffer of `len` bytes.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`].
    pub(crate) fn zeroed(len: usize) -> Result<Self> {
        // SAFETY: The function has no preconditions.
        let data = unsafe { bindings::rust_vfs_zalloc(len) };

        Ok(Self {
            data: NonNull::new(data.cast()).ok_or(ENOMEM)?,
            len,
        })
    }

    /// The string up to the first NUL; `None` if there is no NUL.
    pub(crate) fn as_c_str(&self) -> Option<&CStr> {
        CStr::from_bytes_until_nul(self).ok()
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: By the type invariant.
        unsafe { slice::from_raw_parts(self.data.as_ptr(), self.len) }
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: By the type invariant; `self` is borrowed exclusively.
        unsafe { slice::from_raw_parts_mut(self.data.as_ptr(), self.len) }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        // SAFETY: By the type invariant the memory is this value's to free.
        unsafe { bindings::kvfree(self.data.as_ptr().cast()) };
    }
}

/// The string of these bytes.
///
/// # Errors
///
/// [`ENOMEM`].
pub(crate) fn c_string(bytes: impl Iterator<Item = u8> + Clone) -> Result<CString> {
    let len = bytes.clone().fold(0_usize, |len, _| len.saturating_add(1));

    // One more for the NUL.
    let mut copy = Buffer::zeroed(len.saturating_add(1))?;
    for (to, byte) in copy.iter_mut().zip(bytes) {
        *to = byte;
    }
    Ok(CString::try_from(copy.as_c_str().ok_or(EINVAL)?)?)
}

/// Adds `value` at the end of `list`. Where that is full it becomes twice as large.
///
/// # Errors
///
/// [`ENOMEM`].
pub(crate) fn push<T>(list: &mut KVVec<T>, value: T) -> Result {
    if list.len() == list.capacity() {
        let capacity = list.capacity().saturating_mul(2).max(8);
        let larger = KVVec::with_capacity(capacity, GFP_KERNEL_ACCOUNT)?;
        for value in core::mem::replace(list, larger) {
            list.push_within_capacity(value).map_err(|_| ENOMEM)?;
        }
    }
    list.push_within_capacity(value).map_err(|_| ENOMEM)
}

/// The bytes of `string`, without the NUL.
pub(crate) fn bytes(string: &CStr) -> &[u8] {
    string
        .to_bytes_with_nul()
        .split_last()
        .map_or(&[], |(_, bytes)| bytes)
}

/// The string at `ptr`.
///
/// # Safety
///
/// `ptr` must point at a NUL-terminated string that does not change during the lifetime that the
/// caller chooses.
pub(super) unsafe fn c_str<'a>(ptr: *const c_char) -> &'a CStr {
    // SAFETY: The caller vouches for the string; its length and the NUL make up an object in
    // memory, whose size cannot overflow.
    unsafe {
        let len = bindings::strlen(ptr);
        CStr::from_bytes_with_nul_unchecked(slice::from_raw_parts(ptr.cast(), len.wrapping_add(1)))
    }
}
