// SPDX-License-Identifier: GPL-2.0-only

//! Dentries.
//!
//! C header: [`include/linux/dcache.h`](srctree/include/linux/dcache.h)

use super::{backing::Operations, bindings, inode::Inode};
use core::marker::PhantomData;

/// The dentry operations of a superblock of type `T`.
pub(super) fn table<T: Operations>() -> *const bindings::dentry_operations {
    &Tables::<T>::TABLE
}

/// The C entry points of the dentries of file system type `T`.
struct Tables<T>(PhantomData<T>);

impl<T: Operations> Tables<T> {
    const TABLE: bindings::dentry_operations = {
        let mut table: bindings::dentry_operations = pin_init::zeroed();
        table.d_real = Some(Self::real);
        table
    };

    /// The dentry whose inode has the content: that of the backing file, which is opened now if it
    /// was not before. So this may sleep, as all callers can (uprobes, IMA, IPE, BPF). If there is
    /// no backing file, or it cannot be opened, it is the dentry itself.
    ///
    /// # Safety
    ///
    /// `dentry` is of type `T` and referenced. No spinlock is held: it may be waited.
    unsafe extern "C" fn real(
        dentry: *mut bindings::dentry,
        kind: bindings::d_real_type,
    ) -> *mut bindings::dentry {
        // SAFETY: The dentry is live, and holds its inode if it has one.
        let inode = unsafe { (*dentry).d_inode };
        if kind != bindings::d_real_type_D_REAL_DATA || inode.is_null() {
            return dentry;
        }
        // SAFETY: As above.
        let inode = unsafe { Inode::<T>::from_raw(inode) };
        let found = match T::opened(inode) {
            Some(file) => Some(file),
            None => inode
                .check_usable()
                .and_then(|()| T::find(inode))
                .unwrap_or(None),
        };
        // SAFETY: The file is live, and stays with the inode.
        found.map_or(dentry, |file| unsafe {
            bindings::rust_vfs_give_verity_to_ima(inode.as_ptr(), file.as_ptr());
            bindings::rust_vfs_real_dentry(file.as_ptr())
        })
    }
}
