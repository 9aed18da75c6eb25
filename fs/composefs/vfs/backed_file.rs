// SPDX-License-Identifier: GPL-2.0-only

//! Regular files whose content is that of a file of another file system.
//!
//! All users of an inode share one open backing file, and with it the page cache of the file behind
//! it. A mapping has a file of its own, because that carries the path that `/proc/PID/maps` shows;
//! it borrows what the shared one has open. Where that cannot be shared (see
//! `rust_vfs_adopt_backing_file()`), each user's file has an open one behind it, for all purposes.

use super::{
    backing::{self, BackingFile, BackingSlot},
    bindings, credential,
    inode::{Inode, Kind},
    inode_operations,
    registration::Registration,
    verity,
};
use core::marker::PhantomData;
use kernel::{
    cred::Credential,
    error::{from_result, to_result},
    fs::LocalFile,
    prelude::*,
};

/// What a file system with such files provides.
pub(crate) trait Operations: inode_operations::Operations + backing::Operations {
    /// Finds the backing file of `inode`. Called for each open; `user` is the file that is being
    /// opened.
    fn open<'a>(inode: &'a Inode<Self>, user: &LocalFile) -> Result<&'a BackingFile>;

    /// Whether the content of an inode is, or will be when it is opened, known to have a digest
    /// that the file system vouches for.
    fn is_verified(inode: &Inode<Self>) -> bool;

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
/// The `private_data` of an open file is null, or a reference to a backing file that is not shared:
/// one that was opened with it, or the one of its mappings. It is set at most once.
struct Tables<T>(PhantomData<T>);

impl<T: Operations> Tables<T> {
    const INODE: bindings::inode_operations = {
        let mut table = inode_operations::common::<T>();
        table.getattr = Some(Self::getattr);
        table.fileattr_get = Some(Self::fileattr_get);
        table.fiemap = Some(Self::fiemap);
        table
    };

    const FILE: bindings::file_operations = {
        let mut table: bindings::file_operations = pin_init::zeroed();
        table.open = Some(Self::open);
        table.release = Some(Self::release);
        table.llseek = Some(Self::llseek);
        table.read_iter = Some(Self::read_iter);
        table.splice_read = Some(Self::splice_read);
        table.mmap = Some(Self::mmap);
        table.get_unmapped_area = Some(Self::get_unmapped_area);
        table.unlocked_ioctl = Some(Self::ioctl);
        table.compat_ioctl = bindings::compat_ptr_ioctl;
        table.fadvise = Some(Self::fadvise);
        table.fsync = Some(bindings::noop_fsync);
        table.setlease = Some(bindings::generic_setlease);
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
    /// `inode` is of type `T`, and `file` is one of it that this task is opening: it is nobody
    /// else's yet, and holds the inode. No lock is held.
    unsafe extern "C" fn open(inode: *mut bindings::inode, file: *mut bindings::file) -> c_int {
        from_result(|| {
            // SAFETY: The file that is being opened holds a reference to the inode, and is alive
            // itself.
            let (inode, user) =
                unsafe { (Inode::<T>::from_raw(inode), LocalFile::from_raw_file(file)) };

            inode.check_usable()?;
            let backing = T::open(inode, user)?;

            // SAFETY: Inode and file are live; there is a backing file.
            to_result(unsafe { bindings::rust_vfs_load_verity(inode.as_ptr(), file) })?;

            // SAFETY: The user's file is this task's until it is open, and the backing file is
            // open.
            if unsafe { bindings::rust_vfs_adopt_backing_file(file, backing.as_ptr()) } {
                // SAFETY: `file` is live, and of type `T`.
                unsafe { Self::open_own(inode, backing, file)? };
            }
            Ok(0)
        })
    }

    /// # Safety
    ///
    /// `file` is of type `T`, was opened by `open()`, and its last reference is gone: nobody else
    /// uses it. It still holds its inode.
    unsafe extern "C" fn release(_inode: *mut bindings::inode, file: *mut bindings::file) -> c_int {
        // SAFETY: `private_data` is as the struct says, and nobody else uses the file any more: the
        // slot can be taken over.
        unsafe { bindings::rust_vfs_put_private_file(file) };
        0
    }

    /// # Safety
    ///
    /// `iocb` is a request for a file of type `T` that is open until it has ended, and `iter` a
    /// buffer to read into.
    unsafe extern "C" fn read_iter(
        iocb: *mut bindings::kiocb,
        iter: *mut bindings::iov_iter,
    ) -> isize {
        from_result(|| {
            // SAFETY: The file of the request is open.
            let (inode, file) = unsafe { Self::readable((*iocb).ki_filp)? };

            // SAFETY: The VFS gives a request and a buffer for the call; the file is a backing file
            // and outlives the call, as the inode does.
            Ok(unsafe {
                bindings::rust_vfs_backing_read_iter(
                    file.as_ptr(),
                    iter,
                    iocb,
                    &mut Self::context(inode),
                )
            })
        })
    }

    /// # Safety
    ///
    /// `user` is an open file of type `T`, `position` and `pipe` are the caller's to use.
    unsafe extern "C" fn splice_read(
        user: *mut bindings::file,
        position: *mut bindings::loff_t,
        pipe: *mut bindings::pipe_inode_info,
        len: usize,
        flags: c_uint,
    ) -> isize {
        from_result(|| {
            // SAFETY: The file is open.
            let (inode, file) = unsafe { Self::readable(user)? };

            // SAFETY: The VFS gives a position and a pipe for the call; the file is a backing file
            // and outlives the call, as the inode does.
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
    /// `user` is an open file of type `T`, and `vma` a new mapping of it that nobody sees yet. The
    /// `mmap_lock` of its address space is held for writing.
    unsafe extern "C" fn mmap(
        user: *mut bindings::file,
        vma: *mut bindings::vm_area_struct,
    ) -> c_int {
        from_result(|| {
            // SAFETY: The file is open.
            let (inode, shared) = unsafe { Self::opened(user)? };

            // SAFETY: The file is open, and of type `T`.
            let file = unsafe { Self::mapped(inode, shared, user)? };

            // SAFETY: The VFS gives a mapping for the call, of `user`; the file is a backing file,
            // and the mapping takes a reference to it.
            to_result(unsafe {
                bindings::backing_file_mmap(file.as_ptr(), vma, &mut Self::context(inode))
            })?;
            Ok(0)
        })
    }

    /// # Safety
    ///
    /// `user` is an open file of type `T`. The `mmap_lock` of the current address space is held for
    /// writing.
    unsafe extern "C" fn get_unmapped_area(
        user: *mut bindings::file,
        address: c_ulong,
        len: c_ulong,
        page_offset: c_ulong,
        flags: c_ulong,
    ) -> c_ulong {
        // SAFETY: The file is open.
        match unsafe { Self::opened(user) } {
            // SAFETY: The backing file is open.
            Ok((_, file)) => unsafe {
                bindings::rust_vfs_backing_get_unmapped_area(
                    file.as_ptr(),
                    address,
                    len,
                    page_offset,
                    flags,
                )
            },
            Err(error) => error.to_errno() as c_ulong,
        }
    }

    /// Where the backing file that `user` does not share is kept.
    ///
    /// # Safety
    ///
    /// `user` must be a live file of type `T`, for the lifetime that the caller chooses.
    unsafe fn own<'a>(user: *mut bindings::file) -> &'a BackingSlot {
        // SAFETY: `private_data` has the layout of a `BackingSlot` and is as the struct says; it
        // lives as long as the file, and is only accessed through this type until `release()`.
        unsafe { &*(&raw const (*user).private_data).cast() }
    }

    /// Opens a file for `user` alone, as whoever may permit it wants it.
    ///
    /// # Safety
    ///
    /// `user` must be a file of `inode` that is being opened.
    unsafe fn open_own(
        inode: &Inode<T>,
        shared: &BackingFile,
        user: *mut bindings::file,
    ) -> Result {
        // SAFETY: `user` and `shared` are live; the path of the latter is valid while it is, and of
        // a regular file.
        let own = unsafe {
            let mut path = pin_init::zeroed();
            bindings::rust_vfs_path_of_file(shared.as_ptr(), &mut path);
            BackingFile::open(user, &path, T::credential(inode))?
        };
        // SAFETY: The file is open.
        to_result(unsafe { bindings::rust_vfs_ask_for_content(own.as_ptr()) })?;

        // SAFETY: The file is live, and of type `T`.
        unsafe { Self::own(user) }.publish(own);
        Ok(())
    }

    /// The file that a mapping of `user` is of.
    ///
    /// # Safety
    ///
    /// `user` must be an open file of `inode`, for the lifetime that the caller chooses; `shared`
    /// must be the backing file of `inode`.
    unsafe fn mapped<'a>(
        inode: &Inode<T>,
        shared: &BackingFile,
        user: *mut bindings::file,
    ) -> Result<&'a BackingFile> {
        // SAFETY: The file is open, and of type `T`.
        let own: &'a BackingSlot = unsafe { Self::own(user) };
        if let Some(file) = own.get() {
            return Ok(file);
        }
        // SAFETY: `user` is open. If it had needed a file of its own, it would have one. Its inode
        // keeps its backing file, which is never replaced, until it is evicted.
        let borrowed = unsafe { shared.borrow_for(user, T::credential(inode))? };
        Ok(own.publish(borrowed).0)
    }

    /// The inode of an open file, and the backing file to read it from.
    ///
    /// # Safety
    ///
    /// As for [`Self::opened`].
    unsafe fn readable<'a>(user: *mut bindings::file) -> Result<(&'a Inode<T>, &'a BackingFile)> {
        // SAFETY: See the contract of this function.
        let ((inode, shared), own) = unsafe { (Self::opened(user)?, Self::own(user).get()) };

        // One that was opened for this user is that for all purposes.
        Ok((inode, own.filter(|file| file.is_open()).unwrap_or(shared)))
    }

    /// The inode of an open file and its backing file.
    ///
    /// # Safety
    ///
    /// `user` must be an open file of type `T`, for the lifetime that the caller chooses.
    unsafe fn opened<'a>(user: *mut bindings::file) -> Result<(&'a Inode<T>, &'a BackingFile)> {
        // SAFETY: The open file holds a reference to the inode.
        let inode = unsafe { Inode::<T>::from_raw(bindings::rust_vfs_file_inode(user)) };

        inode.check_usable()?;
        Ok((inode, <T as backing::Operations>::opened(inode).ok_or(EIO)?))
    }

    /// # Safety
    ///
    /// `user` is an open file of type `T`. The lock of its position is held if others may use it.
    unsafe extern "C" fn llseek(
        user: *mut bindings::file,
        offset: bindings::loff_t,
        whence: c_int,
    ) -> bindings::loff_t {
        from_result(|| {
            // SAFETY: The file is open.
            let (inode, file) = unsafe { Self::opened(user)? };

            // SAFETY: Both files are open.
            Ok(credential::scoped(T::credential(inode), || unsafe {
                bindings::rust_vfs_backing_llseek(user, file.as_ptr(), offset, whence)
            }))
        })
    }

    /// # Safety
    ///
    /// `user` is an open file of type `T`. No lock is held.
    unsafe extern "C" fn fadvise(
        user: *mut bindings::file,
        offset: bindings::loff_t,
        len: bindings::loff_t,
        advice: c_int,
    ) -> c_int {
        from_result(|| {
            // SAFETY: The file is open.
            let (inode, file) = unsafe { Self::opened(user)? };

            // SAFETY: The backing file is open.
            Ok(credential::scoped(T::credential(inode), || unsafe {
                bindings::rust_vfs_backing_fadvise(file.as_ptr(), offset, len, advice)
            }))
        })
    }

    /// `FS_IOC_MEASURE_VERITY`.
    ///
    /// # Safety
    ///
    /// `user` is an open file of type `T`. No lock is held.
    unsafe extern "C" fn ioctl(
        user: *mut bindings::file,
        command: c_uint,
        argument: c_ulong,
    ) -> c_long {
        from_result(|| {
            // SAFETY: The file is open.
            let (inode, file) = unsafe { Self::opened(user)? };

            // SAFETY: The superblock of the inode is live. The backing file is open; the argument
            // is an address of the caller's, and treated as such.
            Ok(unsafe {
                let sb = inode.super_block().as_ptr();
                let registered = Registration::<T>::of(sb).registered();
                let file = verity::innermost(registered, file.as_ptr());
                bindings::rust_vfs_backing_ioctl(file, command, argument)
            })
        })
    }

    /// # Safety
    ///
    /// `inode` is of type `T`, and a file of it is open. No lock is held. `info` is the caller's.
    unsafe extern "C" fn fiemap(
        inode: *mut bindings::inode,
        info: *mut bindings::fiemap_extent_info,
        start: u64,
        len: u64,
    ) -> c_int {
        from_result(|| {
            // SAFETY: The VFS holds a reference to the inode.
            let inode = unsafe { Inode::<T>::from_raw(inode) };
            inode.check_usable()?;
            let file = <T as backing::Operations>::opened(inode).ok_or(EIO)?;

            // SAFETY: The backing file is open, and the VFS gives a place for the extents.
            Ok(credential::scoped(T::credential(inode), || unsafe {
                bindings::rust_vfs_backing_fiemap(file.as_ptr(), info, start, len)
            }))
        })
    }

    /// # Safety
    ///
    /// As for `inode_operations::getattr()`.
    unsafe extern "C" fn getattr(
        idmap: *mut bindings::mnt_idmap,
        path: *const bindings::path,
        stat: *mut bindings::kstat,
        request: u32,
        flags: c_uint,
    ) -> c_int {
        // SAFETY: The dentry of the path holds its inode; `stat` is this task's to fill in.
        unsafe {
            let result = inode_operations::getattr::<T>(idmap, path, stat, request, flags);
            (*stat).attributes_mask |= u64::from(bindings::STATX_ATTR_VERITY);
            if T::is_verified(Inode::<T>::from_raw((*(*path).dentry).d_inode)) {
                (*stat).attributes |= u64::from(bindings::STATX_ATTR_VERITY);
            }
            result
        }
    }

    /// `FS_IOC_GETFLAGS`, for `lsattr(1)`.
    ///
    /// # Safety
    ///
    /// `dentry` is positive, of type `T`, and referenced. `attributes` is the caller's to fill in.
    unsafe extern "C" fn fileattr_get(
        dentry: *mut bindings::dentry,
        attributes: *mut bindings::file_kattr,
    ) -> c_int {
        from_result(|| {
            // SAFETY: The dentry holds its inode; the attributes are this task's to fill in.
            unsafe {
                let inode = Inode::<T>::from_raw((*dentry).d_inode);
                inode.check_usable()?;
                bindings::rust_vfs_fileattr_verity(attributes, T::is_verified(inode));
            }
            Ok(0)
        })
    }
}
