// SPDX-License-Identifier: GPL-2.0-only

//! File systems that stand on files of others, of their own type maybe.

use super::{bindings, filesystem::FileSystem, inode::Inode, superblock::SuperBlock};
use core::{marker::PhantomData, ptr::NonNull};
use kernel::prelude::*;

/// What was registered for the file system type `T`, to know its files by.
///
/// # Invariants
///
/// It is the `fs_type` of a registration of `T`: superblocks of this type, and
/// no others, are of type `T`. It is compared with others, and not looked at.
pub(crate) struct Registered<T: FileSystem>(
    NonNull<bindings::file_system_type>,
    PhantomData<fn() -> T>,
);

// SAFETY: Only the address is used.
unsafe impl<T: FileSystem> Send for Registered<T> {}

// SAFETY: As for `Send`.
unsafe impl<T: FileSystem> Sync for Registered<T> {}

impl<T: FileSystem> Clone for Registered<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T: FileSystem> Copy for Registered<T> {}

impl<T: FileSystem> Registered<T> {
    /// # Safety
    ///
    /// `fs_type` must be as the type's invariant says.
    pub(super) unsafe fn from_raw(fs_type: NonNull<bindings::file_system_type>) -> Self {
        // INVARIANT: See the contract of this function.
        Self(fs_type, PhantomData)
    }

    /// The file that has what is read from an open file: that itself, or if it
    /// is one of a mount of type `T`, its backing file. For as long as the first
    /// is open, so is this one, and it is the same.
    ///
    /// # Safety
    ///
    /// `file` must be open.
    pub(super) unsafe fn innermost(self, file: *mut bindings::file) -> *mut bindings::file {
        let mut file = file;
        // As many rounds as mounts of type `T` stand on one another.
        loop {
            // SAFETY: The file is open, and so has a live inode.
            let backing = unsafe {
                let inode = bindings::rust_vfs_file_inode(file);
                // By the type invariant the inode is then one of type `T`. The
                // open file has a reference to it, which keeps its backing
                // file open.
                bindings::rust_vfs_is_on(inode, self.0.as_ptr())
                    .then(|| T::backing(Inode::<T>::from_raw(inode)))
                    .flatten()
            };
            match backing {
                Some(backing) => file = backing.as_ptr(),
                None => return file,
            }
        }
    }

    /// The superblock of an inode, if it is of type `T`.
    ///
    /// # Safety
    ///
    /// `inode` must be live for `'a`, and if it is of type `T`, its superblock
    /// must have been mounted.
    pub(super) unsafe fn super_block_of<'a>(
        self,
        inode: *const bindings::inode,
    ) -> Option<&'a SuperBlock<T>> {
        // SAFETY: A live inode has a live superblock. By the type invariant it
        // is then one of type `T`.
        unsafe {
            bindings::rust_vfs_is_on(inode, self.0.as_ptr())
                .then(|| SuperBlock::from_raw((*inode).i_sb))
        }
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

/// How many file systems are stacked on one another, not counting the one at
/// the bottom.
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
