// SPDX-License-Identifier: GPL-2.0-only

//! Error codes that the `kernel` crate has only from 7.3 on, and kinds of errors. The codes that it
//! always had are in its prelude.
//!
//! C header: [`include/uapi/asm-generic/errno.h`](srctree/include/uapi/asm-generic/errno.h)

use kernel::prelude::*;

#[cfg(not(COMPOSEFS_BEFORE_7_3))]
pub(crate) use kernel::error::code::{
    EBADMSG, EKEYEXPIRED, EKEYREJECTED, EKEYREVOKED, ENAMETOOLONG, ENODATA, ENOKEY, ENOPKG,
    EOPNOTSUPP, ESTALE, EUCLEAN,
};

/// Whether an error says nothing of what was to be opened or read: the next try may succeed.
pub(crate) fn is_transient(error: Error) -> bool {
    matches!(error, ENOMEM | EINTR | ERESTARTSYS | EMFILE | ENFILE)
}

/// Whether an error says that the file may not be opened (its mode, a security module), or not yet
/// (the key of an encrypted one), rather than that something is wrong with it.
pub(crate) fn is_denial(error: Error) -> bool {
    matches!(error, EACCES | EPERM | ENOKEY)
}

#[cfg(COMPOSEFS_BEFORE_7_3)]
pub(crate) use before_7_3::*;

#[cfg(COMPOSEFS_BEFORE_7_3)]
mod before_7_3 {
    use crate::vfs::bindings;
    use core::num::NonZeroI32;
    use kernel::error::Error;

    /// There is no other constant way to an [`Error`] that has no name yet, and constants are what
    /// patterns need.
    const fn error(errno: u32) -> Error {
        assert!(errno > 0 && errno < bindings::MAX_ERRNO);
        match NonZeroI32::new(-(errno as i32)) {
            // SAFETY: `Error` is a struct of one `NonZeroI32`, and no larger, as the types' sizes
            // are compared here; so it is laid out as that. The number is in the range that it may
            // have.
            Some(errno) => unsafe { core::mem::transmute::<NonZeroI32, Error>(errno) },
            None => kernel::error::code::EINVAL,
        }
    }

    pub(crate) const EBADMSG: Error = error(bindings::EBADMSG);
    pub(crate) const EKEYEXPIRED: Error = error(bindings::EKEYEXPIRED);
    pub(crate) const EKEYREJECTED: Error = error(bindings::EKEYREJECTED);
    pub(crate) const EKEYREVOKED: Error = error(bindings::EKEYREVOKED);
    pub(crate) const ENAMETOOLONG: Error = error(bindings::ENAMETOOLONG);
    pub(crate) const ENODATA: Error = error(bindings::ENODATA);
    pub(crate) const ENOKEY: Error = error(bindings::ENOKEY);
    pub(crate) const ENOPKG: Error = error(bindings::ENOPKG);
    pub(crate) const EOPNOTSUPP: Error = error(bindings::EOPNOTSUPP);
    pub(crate) const ESTALE: Error = error(bindings::ESTALE);
    pub(crate) const EUCLEAN: Error = error(bindings::EUCLEAN);
}
