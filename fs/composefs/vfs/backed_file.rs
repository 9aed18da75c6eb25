// SPDX-License-Identifier: GPL-2.0-only

//! Regular files whose content is that of a file of another file system.
//!
//! All readers of an inode share one backing file, and with it the page cache
//! of the file behind it. Only a mapping has a backing file of its own, because
//! that carries the path that `/proc/PID/maps` shows.

use super::{
    backing::{BackingFile, BackingSlot},
    bindings,
    context::FileRef,
    credential::Credential,
    filesystem::FileSystem,
    inode::{Inode, Kind},
    xattr,
};
use core::marker::PhantomData;
use kernel::{
    error::{from_result, to_result},
    prelude::*,
};

/// What a file system with such files provides.
pub(crate) trait Operations: FileSystem {
    /// Finds the backing file of `inode`. Called for each open; `user` is
    /// the file that is being opened.
    fn open<'a>(inode: &'a Inode<Self>, user: FileRef<'_>) -> Result<&'a BackingFile>;

    /// The backing file of an inode for which `open` has succeeded.
    fn backing(inode: &Inode<Self>) -> Option<&BackingFile>;

    /// On whose behalf backing files are opened and read.
    fn credential(inode: &Inode<Self>) -> &Credential;
}

impl<T: Operations> Kind<T> {
    /// A regular file with a backing file.
    pub(crate) fn backed_file() -> Self {
        Self {
            file_type: bindings::S_IFREG,
            inode_operations: &Tables::<T>::INODE,
            file_operations: Some(&Tables::<T>::FILE),
            mapping_operations: None,
            rdev: 0,
            _filesystem: PhantomData,
        }
    }
}

/// The C entry points of such files of file system type `T`.
///
/// The `private_data` of an open file is null, or a reference to the backing
/// file of its mappings; it is set at most once.
struct Tables<T>(PhantomData<T>);

impl<T: Operations> Tables<T> {
    const INODE: bindings::inode_operations = {
        // SAFETY: All-zeroes is a valid value of the type: no operation.
        let mut table: bindings::inode_operations = unsafe { core::mem::zeroed() };
        table.listxattr = Some(xattr::list::<T>);
        table
    };

    const FILE: bindings::file_operations = {
        // SAFETY: All-zeroes is a valid value of the type: no operation.
        let mut table: bindings::file_operations = unsafe { core::mem::zeroed() };
        table.open = Some(Self::open);
        table.release = Some(Self::release);
        table.llseek = Some(bindings::generic_file_llseek);
        table.read_iter = Some(Self::read_iter);
        table.splice_read = Some(Self::splice_read);
        table.mmap = Some(Self::mmap);
        table
    };

    /// What the backing-file helpers need to know of a call.
    fn context(inode: &Inode<T>) -> bindings::backing_file_ctx {
        bindings::backing_file_ctx {
            cred: T::credential(inode).as_ptr(),
            accessed: None,
            end_write: None,
        }
    }

    /// # Safety
    ///
    /// Called by the VFS only, with an inode of type `T` and a file of it that
    /// is being opened.
    unsafe extern "C" fn open(inode: *mut bindings::inode, file: *mut bindings::file) -> c_int {
        from_result(|| {
            // SAFETY: The file that is being opened holds a reference to the
            // inode, and is alive itself.
            let (inode, user) = unsafe { (Inode::<T>::from_raw(inode), FileRef::from_raw(file)) };

            T::open(inode, user)?;
            Ok(0)
        })
    }

    /// # Safety
    ///
    /// Called by the VFS only, for the last reference to an open file.
    unsafe extern "C" fn release(_inode: *mut bindings::inode, file: *mut bindings::file) -> c_int {
        // SAFETY: `private_data` is as the struct says, and nobody else uses
        // the file any more: the slot can be taken over.
        unsafe { bindings::rust_vfs_put_private_file(file) };
        0
    }

    /// # Safety
    ///
    /// Called by the VFS only, for an open file of type `T`.
    unsafe extern "C" fn read_iter(
        iocb: *mut bindings::kiocb,
        iter: *mut bindings::iov_iter,
    ) -> isize {
        from_result(|| {
            // SAFETY: The open file of the request holds a reference to the
            // inode.
            let inode =
                unsafe { Inode::<T>::from_raw(bindings::rust_vfs_file_inode((*iocb).ki_filp)) };
            let file = T::backing(inode).ok_or(EIO)?;

            // SAFETY: The VFS gives a request and a buffer for the call; the
            // file is a backing file and outlives the call, as the inode does.
            Ok(unsafe {
                bindings::backing_file_read_iter(
                    file.as_ptr(),
                    iter,
                    iocb,
                    (*iocb).ki_flags,
                    &mut Self::context(inode),
                )
            })
        })
    }

    /// # Safety
    ///
    /// Called by the VFS only, for an open file of type `T`.
    unsafe extern "C" fn splice_read(
        user: *mut bindings::file,
        position: *mut bindings::loff_t,
        pipe: *mut bindings::pipe_inode_info,
        len: usize,
        flags: c_uint,
    ) -> isize {
        from_result(|| {
            // SAFETY: The open file holds a reference to the inode.
            let inode = unsafe { Inode::<T>::from_raw(bindings::rust_vfs_file_inode(user)) };
            let file = T::backing(inode).ok_or(EIO)?;

            // SAFETY: The VFS gives a position and a pipe for the call; the
            // file is a backing file and outlives the call, as the inode does.
            Ok(unsafe {
                bindings::rust_vfs_backing_splice_read(
                    user,
                    file.as_ptr(),
                    position,
                    pipe,
                    len,
                    flags,
                    &mut Self::context(inode),
                )
            })
        })
    }

    /// # Safety
    ///
    /// Called by the VFS only, with a mapping of an open file of type `T` that
    /// is being set up.
    unsafe extern "C" fn mmap(
        user: *mut bindings::file,
        vma: *mut bindings::vm_area_struct,
    ) -> c_int {
        from_result(|| {
            // SAFETY: The open file holds a reference to the inode.
            let inode = unsafe { Inode::<T>::from_raw(bindings::rust_vfs_file_inode(user)) };
            let shared = T::backing(inode).ok_or(EIO)?;

            // SAFETY: `private_data` has the layout of a `BackingSlot` and is
            // as the struct says; it lives as long as the open file, and is
            // only accessed through this type until `release()`.
            let slot = unsafe { &*(&raw const (*user).private_data).cast::<BackingSlot>() };
            let file = match slot.get() {
                Some(file) => file,
                None => {
                    // SAFETY: `user` and `shared` are open; the path of the
                    // latter is valid while it is, and of a regular file.
                    slot.publish(unsafe {
                        let mut path = core::mem::zeroed();
                        bindings::rust_vfs_path_of_file(shared.as_ptr(), &mut path);
                        BackingFile::open(user, &path, T::credential(inode))?
                    })
                }
            };

            // SAFETY: The VFS gives a mapping for the call, of `user`; the
            // file is a backing file, and the mapping takes a reference to it.
            to_result(unsafe {
                bindings::backing_file_mmap(file.as_ptr(), vma, &mut Self::context(inode))
            })?;
            Ok(0)
        })
    }
}
