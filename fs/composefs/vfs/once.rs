// SPDX-License-Identifier: GPL-2.0-only

//! A value that is made when it is first wanted.
//!
//! C header: [`include/linux/wait_bit.h`](srctree/include/linux/wait_bit.h)

use super::bindings;
use core::cell::UnsafeCell;
use kernel::{error::to_result, prelude::*, sync::SetOnce};

/// A value, once one of those who want it has made it.
pub(crate) struct Once<T> {
    value: SetOnce<T>,
    /// Bit 0 is set while a task makes the value.
    state: UnsafeCell<c_ulong>,
}

// SAFETY: `state` is only accessed by atomic operations on bits. What is made by one task is used,
// and may be dropped, by others.
unsafe impl<T: Send + Sync> Sync for Once<T> {}

impl<T> Once<T> {
    /// Without a value.
    pub(crate) const fn new() -> Self {
        Self {
            value: SetOnce::new(),
            state: UnsafeCell::new(0),
        }
    }

    /// The value, which `make` makes unless it is there. One task at a time does that, while others
    /// wait for what comes of it.
    ///
    /// # Errors
    ///
    /// Those of `make`, after which there is still no value; [`EINTR`] if the task was killed while
    /// it waited.
    pub(crate) fn get_or_make(&self, make: impl FnOnce() -> Result<T>) -> Result<&T> {
        if let Some(value) = self.value.as_ref() {
            return Ok(value);
        }
        let _turn = Turn::take(self)?;
        if self.value.as_ref().is_none() {
            self.value.populate(make()?);
        }
        // There is one in any case.
        self.value.as_ref().ok_or(EINTR)
    }
}

/// The right to make the value.
///
/// # Invariants
///
/// This task has set bit 0 of the `state`.
struct Turn<'a, T>(&'a Once<T>);

impl<'a, T> Turn<'a, T> {
    fn take(once: &'a Once<T>) -> Result<Self> {
        // SAFETY: The word is only accessed by atomic operations on bits, and is borrowed for
        // longer than this call.
        to_result(unsafe { bindings::rust_vfs_lock_bit(once.state.get()) })?;

        // INVARIANT: The bit was clear, and is set now.
        Ok(Self(once))
    }
}

impl<T> Drop for Turn<'_, T> {
    fn drop(&mut self) {
        // SAFETY: As in `take()`. By the type invariant the bit is this task's to clear.
        unsafe { bindings::rust_vfs_unlock_bit(self.0.state.get()) };
    }
}
