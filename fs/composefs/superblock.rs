// SPDX-License-Identifier: GPL-2.0-only

//! What belongs to a mounted image.

use crate::{
    image::{self, Image},
    named::Named,
    shown::Shown,
    store::{self, Store},
    vfs::log::pr_err_ratelimited,
};
use kernel::{prelude::*, str::CString};

/// The image, the store, and what was found out about them.
pub(crate) struct Super {
    pub(crate) image: Image,
    pub(crate) store: Store,
    /// What file handles may lead to.
    pub(crate) named: Named,
    /// The name of the image file, for messages.
    pub(crate) source: CString,
    pub(crate) shown: Shown,
    pub(crate) is_signed: bool,
}

impl Super {
    /// Says in the kernel log what is wrong with inode `nid` of the image, and gives the error for
    /// the system call that met it.
    pub(crate) fn report(&self, nid: u64, error: image::Error) -> Error {
        if !matches!(error, image::Error::Read(error) if store::is_transient(error)) {
            pr_err_ratelimited!("{}: inode {nid}: {error}\n", &*self.source);
        }
        error.at_use()
    }
}
