// SPDX-License-Identifier: GPL-2.0-only

//! Extended attributes.
//!
//! C header: [`include/linux/xattr.h`](srctree/include/linux/xattr.h)

use super::{bindings, buffer, filesystem::FileSystem, inode::Inode};
use core::marker::PhantomData;
use kernel::{error::from_result, prelude::*};

/// What a file system with extended attributes provides.
pub(crate) trait Operations: FileSystem {
    /// Reads the extended attribute `name` (less the prefix) of `namespace` into `value`, unless
    /// that is too short; returns its length.
    ///
    /// # Errors
    ///
    /// [`ENODATA`] if there is no such attribute.
    ///
    /// [`ENODATA`]: super::error::ENODATA
    fn get(
        inode: &Inode<Self>,
        namespace: Namespace,
        name: &[u8],
        value: &mut [u8],
    ) -> Result<usize>;

    /// Adds the names of all extended attributes to `list`.
    fn list(inode: &Inode<Self>, list: &mut List<'_>) -> Result;
}

/// The namespaces that a file system is asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Namespace {
    /// `user.`, for everyone who may read the file.
    User,
    /// `trusted.`, for `CAP_SYS_ADMIN`.
    Trusted,
    /// `security.`, for security modules and file capabilities.
    Security,
    /// `system.posix_acl_access`, with nothing behind it.
    AclAccess,
    /// `system.posix_acl_default`, with nothing behind it.
    AclDefault,
}

impl Namespace {
    const fn prefix(self) -> &'static CStr {
        match self {
            Self::User => c"user.",
            Self::Trusted => c"trusted.",
            Self::Security => c"security.",
            Self::AclAccess => c"system.posix_acl_access",
            Self::AclDefault => c"system.posix_acl_default",
        }
    }
}

/// Collects the names for `listxattr(2)`.
pub(crate) struct List<'a> {
    /// Null if only the size is asked for.
    buffer: *mut u8,
    size: usize,
    used: usize,
    trusted: bool,
    _buffer: PhantomData<&'a mut [u8]>,
}

impl List<'_> {
    /// Adds the attribute `name` (less the prefix) of `namespace`, unless the caller may not see
    /// it.
    ///
    /// # Errors
    ///
    /// [`ERANGE`] if the buffer is too short.
    pub(crate) fn add(&mut self, namespace: Namespace, name: &[u8]) -> Result {
        if namespace == Namespace::Trusted && !self.trusted {
            return Ok(());
        }
        self.push(buffer::bytes(namespace.prefix()))?;
        self.push(name)?;
        self.push(&[0])
    }

    fn push(&mut self, bytes: &[u8]) -> Result {
        let end = self.used.checked_add(bytes.len()).ok_or(ERANGE)?;
        if !self.buffer.is_null() {
            if end > self.size {
                return Err(ERANGE);
            }
            // SAFETY: `list()` vouches for `size` bytes at `buffer`, and the range was just checked
            // to lie in them.
            unsafe {
                self.buffer
                    .add(self.used)
                    .copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
            }
        }
        self.used = end;
        Ok(())
    }
}

/// The `listxattr` of every kind of inode.
///
/// # Safety
///
/// `dentry` is positive, of type `T`, and referenced. `buffer` has `size` bytes, unless that is 0.
/// No lock need be held.
pub(super) unsafe extern "C" fn list<T: Operations>(
    dentry: *mut bindings::dentry,
    buffer: *mut c_char,
    size: usize,
) -> isize {
    from_result(|| {
        // SAFETY: A dentry that is in use for this is positive, and holds its inode. The other
        // function has no preconditions.
        let (inode, trusted) = unsafe {
            (
                Inode::<T>::from_raw((*dentry).d_inode),
                bindings::rust_vfs_may_list_trusted(),
            )
        };
        inode.check_usable()?;
        let mut list = List {
            buffer: if size == 0 {
                core::ptr::null_mut()
            } else {
                buffer.cast()
            },
            size,
            used: 0,
            trusted,
            _buffer: PhantomData,
        };
        T::list(inode, &mut list)?;
        isize::try_from(list.used).map_err(|_| ERANGE)
    })
}

/// The `s_xattr` of a superblock of type `T`.
pub(super) fn handlers<T: Operations>() -> *const *const bindings::xattr_handler {
    Handlers::<T>::TABLE.as_ptr()
}

/// The C entry points of the attributes of file system type `T`. The `flags` of a handler are its
/// [`Namespace`].
struct Handlers<T>(PhantomData<T>);

impl<T: Operations> Handlers<T> {
    const USER: bindings::xattr_handler = Self::handler(Namespace::User);
    const TRUSTED: bindings::xattr_handler = Self::handler(Namespace::Trusted);
    const SECURITY: bindings::xattr_handler = Self::handler(Namespace::Security);

    const TABLE: &'static [*const bindings::xattr_handler; 4] = &[
        &Self::USER,
        &Self::TRUSTED,
        &Self::SECURITY,
        core::ptr::null(),
    ];

    const fn handler(namespace: Namespace) -> bindings::xattr_handler {
        bindings::xattr_handler {
            name: core::ptr::null(),
            prefix: kernel::str::as_char_ptr_in_const_context(namespace.prefix()),
            flags: namespace as c_int,
            list: None,
            get: Some(Self::get),
            set: None,
        }
    }

    /// # Safety
    ///
    /// `handler` is one of `TABLE`. `inode` is of type `T` and referenced. `name` ends with a NUL,
    /// and `buffer` has `size` bytes, unless one of them is 0. No lock need be held.
    unsafe extern "C" fn get(
        handler: *const bindings::xattr_handler,
        _dentry: *mut bindings::dentry,
        inode: *mut bindings::inode,
        name: *const c_char,
        buffer: *mut c_void,
        size: usize,
    ) -> c_int {
        from_result(|| {
            // SAFETY: The handler is one of those above, and the VFS gives a NUL-terminated name
            // and an inode that it holds.
            let (namespace, name, inode) = unsafe {
                (
                    match (*handler).flags {
                        flags if flags == Namespace::User as c_int => Namespace::User,
                        flags if flags == Namespace::Trusted as c_int => Namespace::Trusted,
                        _ => Namespace::Security,
                    },
                    buffer::c_str(name),
                    Inode::<T>::from_raw(inode),
                )
            };
            inode.check_usable()?;
            let buffer = if size == 0 || buffer.is_null() {
                &mut []
            } else {
                // SAFETY: The VFS gives a buffer of this size, which is this task's own; it is
                // initialised first.
                unsafe {
                    buffer.cast::<u8>().write_bytes(0, size);
                    core::slice::from_raw_parts_mut(buffer.cast::<u8>(), size)
                }
            };
            let len = <T as Operations>::get(inode, namespace, buffer::bytes(name), buffer)?;
            if size != 0 && len > size {
                return Err(ERANGE);
            }
            c_int::try_from(len).map_err(|_| E2BIG)
        })
    }
}
