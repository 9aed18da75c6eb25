// SPDX-License-Identifier: GPL-2.0-only

//! What belongs to a mounted image.

use crate::{
    format::{self, NidSet},
    image::{self, Image},
    shown::Shown,
    store::Store,
    vfs::{
        buffer::Buffer,
        error::is_transient,
        log::{pr_err_ratelimited, RateLimit},
        once::Once,
    },
};
use kernel::{prelude::*, str::CString};

/// The image, the store, and what was found out about them.
pub(crate) struct Super {
    pub(crate) image: Image,
    pub(crate) store: Store,
    /// The numbers of all inodes that have a name, once `export.rs` has found them.
    pub(crate) named: Once<NidSet<Buffer>>,
    /// The name of the image file, for messages.
    pub(crate) source: CString,
    pub(crate) shown: Shown,
    pub(crate) is_signed: bool,
    /// How often something is said of it in the kernel log.
    pub(crate) messages: RateLimit,
}

impl Super {
    /// [`report()`](Self::report) for an image that is damaged: `what` says how.
    pub(crate) fn corrupt(&self, nid: u64, what: &'static str) -> Error {
        self.report(nid, format::Error::Corrupt(what).into())
    }

    /// Says in the kernel log what is wrong with inode `nid` of the image, and gives the error for
    /// the system call that met it.
    pub(crate) fn report(&self, nid: u64, error: image::Error) -> Error {
        if !matches!(error, image::Error::Read(error) if is_transient(error)) {
            let source = &*self.source;
            pr_err_ratelimited!(self.messages, "{source}: inode {nid}: {error}\n");
        }
        error.at_use()
    }
}
