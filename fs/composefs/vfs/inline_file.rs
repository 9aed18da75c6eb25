// SPDX-License-Identifier: GPL-2.0-only

//! Regular files whose content the file system itself reads into their page cache.

use super::{
    bindings,
    inode::{Inode, Kind},
    inode_operations,
};
use core::marker::PhantomData;
use kernel::{error::from_result, prelude::*};

/// What a file system with such files provides.
pub(crate) trait Operations: inode_operations::Operations {
    /// Reads the content at `offset` into `out`. Returns the number of bytes read, which is less
    /// than asked for only at the end of the file.
    fn read(inode: &Inode<Self>, offset: u64, out: &mut [u8]) -> Result<usize>;
}

impl<T: Operations> Kind<T> {
    /// A regular file whose content goes through the page cache.
    pub(crate) fn inline_file() -> Self {
        Self {
            file_type: bindings::S_IFREG,
            inode_operations: &Tables::<T>::INODE,
            file_operations: Some(&Tables::<T>::FILE),
            mapping_operations: Some(&Tables::<T>::MAPPING),
            rdev: 0,
            _filesystem: PhantomData,
        }
    }
}

/// The C entry points of such files of file system type `T`.
struct Tables<T>(PhantomData<T>);

impl<T: Operations> Tables<T> {
    const INODE: bindings::inode_operations = inode_operations::common::<T>();

    const FILE: bindings::file_operations = {
        let mut table: bindings::file_operations = pin_init::zeroed();
        table.open = Some(Self::open);
        table.llseek = Some(bindings::generic_file_llseek);
        table.read_iter = Some(Self::read_iter);
        table.splice_read = Some(Self::splice_read);
        table.mmap = Some(Self::mmap);
        table.fsync = Some(bindings::noop_fsync);
        table.setlease = Some(bindings::generic_setlease);
        table
    };

    const MAPPING: bindings::address_space_operations = {
        let mut table: bindings::address_space_operations = pin_init::zeroed();
        table.read_folio = Some(Self::read_folio);
        table
    };

    /// # Safety
    ///
    /// `file` is one of type `T` that this task is opening: it is nobody else's yet, and holds its
    /// inode. No lock is held.
    unsafe extern "C" fn open(_inode: *mut bindings::inode, file: *mut bindings::file) -> c_int {
        from_result(|| {
            // SAFETY: The file is live and holds its inode.
            unsafe { Self::check_usable(file)? };

            // SAFETY: The file is this task's until it is open, and what reads it is `read_iter()`.
            unsafe { bindings::rust_vfs_read_from_cache(file) };
            Ok(0)
        })
    }

    /// # Safety
    ///
    /// `file` must be a live file of type `T`.
    unsafe fn check_usable(file: *mut bindings::file) -> Result {
        // SAFETY: The file holds a reference to its inode.
        unsafe { Inode::<T>::from_raw(bindings::rust_vfs_file_inode(file)) }.check_usable()
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
            // SAFETY: The file of the request is open; the arguments are passed on.
            unsafe {
                Self::check_usable((*iocb).ki_filp)?;
                Ok(bindings::rust_vfs_cached_read_iter(iocb, iter))
            }
        })
    }

    /// # Safety
    ///
    /// `file` is an open file of type `T`, `position` and `pipe` are the caller's to use.
    unsafe extern "C" fn splice_read(
        file: *mut bindings::file,
        position: *mut bindings::loff_t,
        pipe: *mut bindings::pipe_inode_info,
        len: usize,
        flags: c_uint,
    ) -> isize {
        from_result(|| {
            // SAFETY: The file is open; the arguments are passed on.
            unsafe {
                Self::check_usable(file)?;
                Ok(bindings::filemap_splice_read(
                    file, position, pipe, len, flags,
                ))
            }
        })
    }

    /// # Safety
    ///
    /// `file` is an open file of type `T`, and `vma` a new mapping of it that nobody sees yet. The
    /// `mmap_lock` of its address space is held for writing.
    unsafe extern "C" fn mmap(
        file: *mut bindings::file,
        vma: *mut bindings::vm_area_struct,
    ) -> c_int {
        from_result(|| {
            // SAFETY: The file is open; the arguments are passed on.
            unsafe {
                Self::check_usable(file)?;
                Ok(bindings::generic_file_readonly_mmap(file, vma))
            }
        })
    }

    /// # Safety
    ///
    /// `folio` is in the page cache of an inode of type `T`, not up to date, referenced, and locked
    /// for this function to unlock. The mapping's `invalidate_lock` is held for reading, which
    /// keeps the folio there.
    unsafe extern "C" fn read_folio(
        _file: *mut bindings::file,
        folio: *mut bindings::folio,
    ) -> c_int {
        let result = || -> Result {
            // SAFETY: A folio in the page cache keeps its inode alive while it is locked.
            let inode = unsafe { Inode::<T>::from_raw(bindings::rust_vfs_folio_inode(folio)) };

            // SAFETY: The folio is locked and not up to date: nobody else reads or writes its
            // memory, which is mapped (there is no high memory, see Kconfig) and initialised here.
            let (position, out) = unsafe {
                let address = bindings::rust_vfs_folio_address(folio).cast::<u8>();
                let size = bindings::rust_vfs_folio_size(folio);
                address.write_bytes(0, size);
                (
                    bindings::rust_vfs_folio_pos(folio),
                    core::slice::from_raw_parts_mut(address, size),
                )
            };
            inode.check_usable()?;
            let position = u64::try_from(position).map_err(|_| EINVAL)?;
            <T as Operations>::read(inode, position, out)?;
            Ok(())
        }();

        // SAFETY: The folio is locked for this read, which ends here.
        unsafe { bindings::rust_vfs_folio_end_read(folio, result.is_ok()) };
        from_result(|| result.map(|()| 0))
    }
}
