// SPDX-License-Identifier: GPL-2.0-only

//! Directories: lookup and readdir.

use super::{
    bindings,
    error::ENAMETOOLONG,
    inode::{Inode, Kind},
    inode_operations,
};
use core::marker::PhantomData;
use kernel::{
    error::{from_err_ptr, from_result},
    prelude::*,
};

/// What a file system with directories provides.
pub(crate) trait Operations: inode_operations::Operations {
    /// The number of the inode that `name` stands for in `dir`, if any. The name is neither `.` nor
    /// `..`, and 1 to 255 bytes long.
    fn lookup(dir: &Inode<Self>, name: &[u8]) -> Result<Option<u64>>;

    /// Hands the entries of `dir` from `emitter.position()` on to `emitter` until it is full.
    fn read_dir(dir: &Inode<Self>, emitter: &mut Emitter<'_>) -> Result;
}

impl<T: Operations> Kind<T> {
    /// A directory.
    pub(crate) fn directory() -> Self {
        Self {
            file_type: bindings::S_IFDIR,
            inode_operations: &Tables::<T>::INODE,
            file_operations: Some(&Tables::<T>::FILE),
            mapping_operations: None,
            rdev: 0,
            _filesystem: PhantomData,
        }
    }
}

/// Where readdir hands its entries to.
pub(crate) struct Emitter<'a>(&'a mut bindings::dir_context);

impl Emitter<'_> {
    /// Where to go on: 0 at first, then what [`Emitter::set_position`] was given or what a user
    /// sought to.
    pub(crate) fn position(&self) -> u64 {
        // The VFS allows no negative position in a directory.
        self.0.pos.max(0) as u64
    }

    /// Sets where the next call is to go on.
    pub(crate) fn set_position(&mut self, position: u64) {
        self.0.pos = position.min(i64::MAX as u64) as i64;
    }

    /// Hands on the entry at `position`, and goes on at `position + 1`; false if there is no more
    /// room, and the entry must be handed on again. `file_type` is one of `DT_*`.
    pub(crate) fn emit(&mut self, position: u64, name: &[u8], ino: u64, file_type: u8) -> bool {
        self.set_position(position);

        // A name that is longer than any is not one, and the VFS computes with its length.
        if name.len() > bindings::NAME_MAX as usize {
            return false;
        }
        // SAFETY: The context is the VFS's own, and `name` has so many bytes.
        let is_taken = unsafe {
            bindings::rust_vfs_dir_emit(
                self.0,
                name.as_ptr().cast(),
                name.len() as c_int,
                ino,
                c_uint::from(file_type),
            )
        };
        if is_taken {
            // Also if what follows turns out to be damaged: without this, readers would be given
            // this entry again, and for ever.
            self.set_position(position.saturating_add(1));
        }
        is_taken
    }
}

/// The C entry points of the directories of file system type `T`.
struct Tables<T>(PhantomData<T>);

impl<T: Operations> Tables<T> {
    const INODE: bindings::inode_operations = {
        let mut table = inode_operations::common::<T>();
        table.lookup = Some(Self::lookup);
        table
    };

    const FILE: bindings::file_operations = {
        let mut table: bindings::file_operations = pin_init::zeroed();
        table.llseek = Some(bindings::generic_file_llseek);
        table.read = Some(bindings::generic_read_dir);
        table.iterate_shared = Some(Self::iterate_shared);
        table.fsync = Some(bindings::noop_fsync);
        table.setlease = Some(bindings::generic_setlease);
        table
    };

    /// # Safety
    ///
    /// `dir` is a directory of type `T`, whose `i_rwsem` is held for reading at least. `dentry` is
    /// a new one in it that is being looked up, so that its name does not change.
    unsafe extern "C" fn lookup(
        dir: *mut bindings::inode,
        dentry: *mut bindings::dentry,
        _flags: c_uint,
    ) -> *mut bindings::dentry {
        let alias = || -> Result<*mut bindings::dentry> {
            // SAFETY: The VFS holds a reference to the directory.
            let dir = unsafe { Inode::<T>::from_raw(dir) };

            // SAFETY: The dentry is being looked up, so it is not renamed; its name has `len`
            // bytes.
            let name = unsafe {
                let mut len = 0;
                let name = bindings::rust_vfs_dentry_name(dentry, &mut len);
                core::slice::from_raw_parts(name.cast::<u8>(), len as usize)
            };
            if name.len() > bindings::NAME_MAX as usize {
                return Err(ENAMETOOLONG);
            }
            dir.check_usable()?;
            let inode = match T::lookup(dir, name)? {
                Some(ino) => Inode::get(dir.super_block(), ino)?.into_raw(),
                None => core::ptr::null_mut(),
            };
            // SAFETY: `d_splice_alias()` consumes the reference to the inode; null makes the dentry
            // negative.
            let alias = from_err_ptr(unsafe { bindings::d_splice_alias(inode, dentry) });
            alias.map_err(|error| {
                if error.to_errno() == -(bindings::ELOOP as c_int) {
                    T::damaged(dir, "directory is in itself")
                } else {
                    error
                }
            })
        };
        alias().unwrap_or_else(|error| error.to_ptr())
    }

    /// # Safety
    ///
    /// `file` is an open directory of type `T`. The `i_rwsem` of its inode is held for reading.
    /// `ctx` is the caller's.
    unsafe extern "C" fn iterate_shared(
        file: *mut bindings::file,
        ctx: *mut bindings::dir_context,
    ) -> c_int {
        from_result(|| {
            // SAFETY: The open file holds a reference to the inode.
            let dir = unsafe { Inode::<T>::from_raw(bindings::rust_vfs_file_inode(file)) };

            dir.check_usable()?;
            // SAFETY: See the contract of this function.
            T::read_dir(dir, &mut Emitter(unsafe { &mut *ctx }))?;
            Ok(0)
        })
    }
}
