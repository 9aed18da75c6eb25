// SPDX-License-Identifier: GPL-2.0-only

//! What can be done with every kind of inode.
//!
//! C header: [`include/linux/fs.h`](srctree/include/linux/fs.h)

use super::{
    acl, bindings,
    inode::{self, Inode},
    xattr,
};
use kernel::{error::from_result, prelude::*};

/// What a file system provides for all of them.
pub(crate) trait Operations: inode::Operations + xattr::Operations {}

impl<T: inode::Operations + xattr::Operations> Operations for T {}

/// What all kinds of inodes have in common.
pub(super) const fn common<T: Operations>() -> bindings::inode_operations {
    let mut table: bindings::inode_operations = pin_init::zeroed();
    table.listxattr = Some(xattr::list::<T>);
    table.get_inode_acl = Some(acl::get::<T>);
    table.fileattr_get = Some(no_flags::<T>);
    table.getattr = Some(getattr::<T>);
    table
}

/// The `getattr` (`statx(2)`) of inodes without more to say.
///
/// # Safety
///
/// `path` is referenced, and its dentry is positive and of type `T`. No lock is held. `stat` is the
/// caller's to be filled in.
pub(super) unsafe extern "C" fn getattr<T: Operations>(
    idmap: *mut bindings::mnt_idmap,
    path: *const bindings::path,
    stat: *mut bindings::kstat,
    request: u32,
    _flags: c_uint,
) -> c_int {
    from_result(|| {
        // SAFETY: The dentry of the path holds its inode; `stat` is this task's.
        unsafe {
            let inode = (*(*path).dentry).d_inode;
            Inode::<T>::from_raw(inode).check_usable()?;
            bindings::generic_fillattr(idmap, request, inode, stat);
            // Not immutable: that would say that nothing can be written to a file of an overlay
            // above this.
            bindings::generic_fill_statx_attr(inode, stat);
        }
        Ok(0)
    })
}

/// The `fileattr_get` (`FS_IOC_GETFLAGS`) of inodes without any flags.
///
/// # Safety
///
/// `dentry` is positive, of type `T`, and referenced. No lock is held, or the inode's. `attributes`
/// is the caller's to be filled in.
unsafe extern "C" fn no_flags<T: Operations>(
    dentry: *mut bindings::dentry,
    attributes: *mut bindings::file_kattr,
) -> c_int {
    from_result(|| {
        // SAFETY: The dentry holds its inode; the attributes are this task's to fill in.
        unsafe {
            Inode::<T>::from_raw((*dentry).d_inode).check_usable()?;
            bindings::rust_vfs_fileattr_verity(attributes, false);
        }
        Ok(0)
    })
}
