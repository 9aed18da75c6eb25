// SPDX-License-Identifier: GPL-2.0-only

//! Superblocks.
//!
//! C header: [`include/linux/fs.h`](srctree/include/linux/fs.h)

use super::{
    bindings,
    filesystem::FileSystem,
    inode::NewInode,
    stacking::{Registered, StackDepth},
};
use core::marker::PhantomData;
use kernel::{prelude::*, seq_file::SeqFile, types::Opaque};

/// The superblock of a mounted file system of type `T`.
///
/// # Invariants
///
/// `s_fs_info` points at a `T::Super`, which does not change.
#[repr(transparent)]
pub(crate) struct SuperBlock<T: FileSystem>(Opaque<bindings::super_block>, PhantomData<T>);

impl<T: FileSystem> SuperBlock<T> {
    /// # Safety
    ///
    /// `sb` must be a superblock of type `T` on which `fill()` has succeeded up to setting
    /// `s_fs_info`, and live for `'a`.
    pub(super) unsafe fn from_raw<'a>(sb: *mut bindings::super_block) -> &'a Self {
        // SAFETY: `Self` is transparent over `super_block`, and the caller vouches for the rest.
        unsafe { &*sb.cast() }
    }

    pub(super) fn as_ptr(&self) -> *mut bindings::super_block {
        self.0.get()
    }

    /// What `statfs(2)` calls it, made from its UUID as `uuid_to_fsid()` does.
    pub(super) fn fsid(&self) -> bindings::__kernel_fsid_t {
        // SAFETY: A live superblock; its UUID does not change once it is mounted.
        let uuid = unsafe { u128::from_le_bytes((*self.as_ptr()).s_uuid.b) };
        let id = (uuid as u64) ^ ((uuid >> 64) as u64);
        bindings::__kernel_fsid_t {
            val: [id as c_int, (id >> 32) as c_int],
        }
    }

    /// What the file system keeps for it.
    pub(crate) fn data(&self) -> &T::Super {
        // SAFETY: By the type invariant.
        unsafe { &*(*self.as_ptr()).s_fs_info.cast() }
    }
}

impl<T: FileSystem> Registered<T> {
    /// The superblock of an inode, if it is of type `T`.
    ///
    /// # Safety
    ///
    /// `inode` must be live for `'a`, and if it is of type `T`, its superblock must have been
    /// mounted.
    pub(super) unsafe fn super_block_of<'a>(
        self,
        inode: *const bindings::inode,
    ) -> Option<&'a SuperBlock<T>> {
        // SAFETY: A live inode has a live superblock. By the type invariant it is then one of type
        // `T`.
        unsafe {
            bindings::rust_vfs_is_on(inode, self.as_ptr())
                .then(|| SuperBlock::from_raw((*inode).i_sb))
        }
    }
}

/// What becomes a superblock: all that there is of it before it exists.
pub(crate) struct NewSuper<T: FileSystem> {
    /// What `statfs(2)` says is the type of the file system.
    pub(crate) magic: u32,
    /// What tells it from others, also when it is mounted again.
    pub(crate) uuid: [u8; 16],
    /// Whether its device nodes are devices, whatever the flags of a mount say.
    pub(crate) has_devices: bool,
    /// How high it stands on other file systems.
    pub(crate) stack_depth: StackDepth,
    /// The number of the root directory, and what it is.
    pub(crate) root: (u64, NewInode<T>),
    /// What the file system keeps for it.
    pub(crate) data: KBox<T::Super>,
}

/// Writes `,name=value`, escaped, where `show_options` shows them.
pub(crate) fn show_option(seq: &SeqFile, name: &CStr, value: &CStr) {
    // SAFETY: `SeqFile` is transparent over `struct seq_file`, is no other task's, and changes by
    // being written to. The strings end with a NUL.
    unsafe {
        bindings::rust_vfs_seq_show_option(
            core::ptr::from_ref(seq).cast_mut().cast(),
            name.as_char_ptr(),
            value.as_char_ptr(),
        );
    }
}
