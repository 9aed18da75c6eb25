// SPDX-License-Identifier: GPL-2.0-only

//! Symbolic links.

use super::{
    bindings,
    error::ENAMETOOLONG,
    inode::{Inode, Kind},
    inode_operations,
};
use core::{marker::PhantomData, ptr::NonNull, slice};
use kernel::prelude::*;

/// What a file system with symbolic links provides.
pub(crate) trait Operations: inode_operations::Operations {
    /// Reads the target into `target`, which is as long as the size of the inode, but at most
    /// `PATH_MAX - 1` bytes. Called again for an inode only after it was evicted, or if several
    /// tasks are first.
    fn read_link(inode: &Inode<Self>, target: &mut [u8]) -> Result;
}

impl<T: Operations> Kind<T> {
    /// A symbolic link.
    pub(crate) fn symlink() -> Self {
        Self {
            file_type: bindings::S_IFLNK,
            inode_operations: &Tables::<T>::INODE,
            file_operations: None,
            mapping_operations: None,
            rdev: 0,
            _filesystem: PhantomData,
        }
    }
}

/// The C entry points of the symbolic links of file system type `T`.
struct Tables<T>(PhantomData<T>);

impl<T: Operations> Tables<T> {
    const INODE: bindings::inode_operations = {
        let mut table = inode_operations::common::<T>();
        table.get_link = Some(Self::get_link);
        table
    };

    /// Reads the target and caches it in `i_link`, where later walks find it without a call.
    ///
    /// # Safety
    ///
    /// `inode` is a symlink of type `T`. With a `dentry`, it is referenced. Without one this is RCU
    /// path walk, which keeps it from being freed, and cannot wait.
    unsafe extern "C" fn get_link(
        dentry: *mut bindings::dentry,
        inode: *mut bindings::inode,
        _done: *mut bindings::delayed_call,
    ) -> *const c_char {
        if dentry.is_null() {
            return ECHILD.to_ptr::<c_char>();
        }
        let link = || -> Result<*const c_char> {
            // SAFETY: This is not RCU path walk: there is a reference.
            let this = unsafe { Inode::<T>::from_raw(inode) };
            this.check_usable()?;

            // Path walk has looked already, but not `vfs_get_link()`, by which overlayfs and NFS
            // come here.
            // SAFETY: The inode is live. What is cached is freed with it.
            let cached = unsafe { bindings::rust_vfs_inode_link(inode) };
            if !cached.is_null() {
                return Ok(cached);
            }

            // SAFETY: The size does not change once the inode is read.
            let size = unsafe { (*inode).i_size };
            let size = usize::try_from(size)
                .ok()
                .filter(|&size| size < bindings::PATH_MAX as usize)
                .ok_or(ENAMETOOLONG)?;

            // SAFETY: The function has no preconditions.
            let link = unsafe { bindings::rust_vfs_zalloc_link(size.wrapping_add(1)) };
            let link = NonNull::new(link.cast::<u8>()).ok_or(ENOMEM)?;

            // SAFETY: The memory was just allocated, and initialised with zeroes; that of the
            // terminating NUL is left alone.
            let target = unsafe { slice::from_raw_parts_mut(link.as_ptr(), size) };
            if let Err(error) = T::read_link(this, target) {
                // SAFETY: The memory came from `kzalloc()` above.
                unsafe { bindings::kfree(link.as_ptr().cast()) };
                return Err(error);
            }
            // SAFETY: The string is NUL-terminated, came from `kzalloc()`, and is freed with the
            // inode, which is live.
            Ok(unsafe { bindings::rust_vfs_inode_publish_link(inode, link.as_ptr().cast()) })
        };
        link().unwrap_or_else(|error| error.to_ptr::<c_char>().cast_const())
    }
}
