// SPDX-License-Identifier: GPL-2.0-only

//! POSIX access control lists, kept as extended attributes.
//!
//! The VFS asks for them only where an inode may have any (see `NewInode::may_have_acl`).
//!
//! C header: [`include/linux/posix_acl.h`](srctree/include/linux/posix_acl.h)

use super::{
    bindings,
    buffer::Buffer,
    error::ENODATA,
    inode::{self, Inode},
    xattr::{self, Namespace},
};
use kernel::{error::from_err_ptr, prelude::*};

/// The `get_inode_acl` of every kind of inode that can have one.
///
/// # Safety
///
/// `inode` is of type `T`. It is referenced unless `rcu` is set: then it is only kept from being
/// freed, by RCU. No lock is held.
pub(super) unsafe extern "C" fn get<T: inode::Operations + xattr::Operations>(
    inode: *mut bindings::inode,
    kind: c_int,
    rcu: bool,
) -> *mut bindings::posix_acl {
    if rcu {
        return ECHILD.to_ptr();
    }
    let acl = || -> Result<*mut bindings::posix_acl> {
        // SAFETY: There is a reference, as this is not RCU path walk.
        let inode = unsafe { Inode::<T>::from_raw(inode) };
        inode.check_usable()?;
        let namespace = match kind as u32 {
            bindings::ACL_TYPE_ACCESS => Namespace::AclAccess,
            bindings::ACL_TYPE_DEFAULT => Namespace::AclDefault,
            _ => return Err(EINVAL),
        };
        let len = match <T as xattr::Operations>::get(inode, namespace, b"", &mut []) {
            Err(ENODATA) => return Ok(core::ptr::null_mut()),
            len => len?,
        };
        let mut value = Buffer::zeroed(len)?;
        <T as xattr::Operations>::get(inode, namespace, b"", &mut value)?;

        // SAFETY: The inode is live, and the buffer has the length given.
        let acl = from_err_ptr(unsafe {
            bindings::rust_vfs_acl_from_xattr(inode.as_ptr(), value.as_ptr().cast(), value.len())
        });
        acl.map_err(|error| match error {
            ENOMEM => ENOMEM,
            _ => T::damaged(inode, "access control list is malformed"),
        })
    };
    acl().unwrap_or_else(|error| error.to_ptr())
}
