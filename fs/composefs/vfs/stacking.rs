// SPDX-License-Identifier: GPL-2.0-only

//! File systems that stand on files of others, of their own type maybe.

use super::bindings;
use core::{marker::PhantomData, ptr::NonNull};
use kernel::prelude::*;

/// What was registered for the file system type `T`, to know its files by.
///
/// # Invariants
///
/// It is the `fs_type` of a registration of `T`: superblocks of this type, and no others, are of
/// type `T`. It is compared with others, and not looked at.
pub(crate) struct Registered<T>(NonNull<bindings::file_system_type>, PhantomData<fn() -> T>);

// SAFETY: Only the address is used.
unsafe impl<T> Send for Registered<T> {}

// SAFETY: As for `Send`.
unsafe impl<T> Sync for Registered<T> {}

impl<T> Clone for Registered<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Registered<T> {}

impl<T> Registered<T> {
    /// # Safety
    ///
    /// `fs_type` must be as the type's invariant says.
    pub(super) unsafe fn from_raw(fs_type: NonNull<bindings::file_system_type>) -> Self {
        // INVARIANT: See the contract of this function.
        Self(fs_type, PhantomData)
    }

    pub(super) fn as_ptr(self) -> *mut bindings::file_system_type {
        self.0.as_ptr()
    }

    /// The depth of a file system of type `T` that stands on one with an inode.
    ///
    /// # Errors
    ///
    /// [`EINVAL`] if it is more than the kernel allows.
    ///
    /// # Safety
    ///
    /// `inode` must be live.
    pub(super) unsafe fn depth_on(self, inode: *const bindings::inode) -> Result<StackDepth> {
        // SAFETY: A live inode has a live superblock.
        let depth = unsafe { bindings::rust_vfs_stack_depth_on((*inode).i_sb, self.0.as_ptr()) };
        if depth > bindings::FILESYSTEM_MAX_STACK_DEPTH {
            return Err(EINVAL);
        }
        Ok(StackDepth(depth))
    }
}

/// How many file systems are stacked on one another, not counting the one at the bottom.
///
/// # Invariants
///
/// The kernel allows as many: `FILESYSTEM_MAX_STACK_DEPTH` at most.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct StackDepth(u32);

impl StackDepth {
    /// As `s_stack_depth` says it.
    pub(super) fn number(self) -> u32 {
        self.0
    }
}
