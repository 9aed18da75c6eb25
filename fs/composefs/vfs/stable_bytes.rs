// SPDX-License-Identifier: GPL-2.0-only

//! Bytes that do not change, and the copies of such that were made last.

use super::{bindings, super_operations::BLOCK_SIZE};
use core::{ops::Deref, pin::Pin, ptr::NonNull};
use kernel::{new_spinlock, prelude::*, sync::SpinLock};

/// Bytes of a folio.
///
/// # Invariants
///
/// Owns a reference to `folio`. `start` is the address of `len` bytes of it that are initialised,
/// and do not change for as long as there is a reference.
pub(crate) struct StableBytes {
    folio: NonNull<bindings::folio>,
    start: *const u8,
    len: usize,
}

// SAFETY: The reference count of a folio is atomic, and its bytes are only read.
unsafe impl Send for StableBytes {}

// SAFETY: As for `Send`.
unsafe impl Sync for StableBytes {}

impl StableBytes {
    /// # Safety
    ///
    /// The caller hands over a reference to `folio`, and vouches for the rest of the type's
    /// invariants.
    pub(super) unsafe fn from_raw(
        folio: NonNull<bindings::folio>,
        start: *const u8,
        len: usize,
    ) -> Self {
        // INVARIANT: See the contract of this function.
        Self { folio, start, len }
    }
}

impl Clone for StableBytes {
    fn clone(&self) -> Self {
        // SAFETY: By the type invariant there is a reference, so the folio is live, and may be
        // given one more.
        unsafe { bindings::rust_vfs_folio_get(self.folio.as_ptr()) };

        // INVARIANT: The reference was just taken.
        Self { ..*self }
    }
}

impl Deref for StableBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: By the type invariant. The memory is mapped: there is no high memory, see
        // Kconfig.
        unsafe { core::slice::from_raw_parts(self.start, self.len) }
    }
}

impl Drop for StableBytes {
    fn drop(&mut self) {
        // SAFETY: By the type invariant there is a reference to give back.
        unsafe { bindings::rust_vfs_folio_put(self.folio.as_ptr()) };
    }
}

/// How many copies are kept: the block of inodes and that of the directory that a walk is at, for
/// each of some walks.
const SLOTS: usize = 16;

/// The copies that were made last of parts of a file, by where they are in it. To make one costs as
/// much as all the rest of a lookup.
pub(super) struct Copies(Pin<KBox<SpinLock<Slots>>>);

type Slots = [Option<(u64, StableBytes)>; SLOTS];

impl Copies {
    pub(super) fn new() -> Result<Self> {
        let slots = new_spinlock!([const { None }; SLOTS]);
        Ok(Self(KBox::pin_init(slots, GFP_KERNEL_ACCOUNT)?))
    }

    /// The bytes at `offset`, if they are kept, and there are `len` of them.
    pub(super) fn find(&self, offset: u64, len: usize) -> Option<StableBytes> {
        match self.0.lock().get(slot(offset)) {
            Some(Some((kept, bytes))) if *kept == offset && bytes.len == len => Some(bytes.clone()),
            _ => None,
        }
    }

    /// Keeps the bytes at `offset`.
    pub(super) fn keep(&self, offset: u64, bytes: &StableBytes) {
        let mut kept = Some((offset, bytes.clone()));
        if let Some(slot) = self.0.lock().get_mut(slot(offset)) {
            core::mem::swap(slot, &mut kept);
        }
        // What was there goes when the lock is free again.
        drop(kept);
    }
}

/// Where what is at `offset` is kept: blocks that are neighbours do not drive each other out, also
/// where they are in one page.
fn slot(offset: u64) -> usize {
    (offset / u64::from(BLOCK_SIZE)) as usize % SLOTS
}
