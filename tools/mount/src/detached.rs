// SPDX-License-Identifier: GPL-2.0-only
//! A mount that is nowhere yet, by the kernel's own composefs, of files that are open.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use composefs_format::{Digest, Verity};
use composefs_ioctls::mount::mount_setattr_idmap;
use rustix::io::Errno;
use rustix::mount::MountAttrFlags;

use crate::context::Context;
use crate::driver::{self, NAME};
use crate::error::Error;

/// What is to be mounted.
#[derive(Debug)]
pub struct Detached<'a> {
    /// The image.
    pub image: BorrowedFd<'a>,
    /// Where objects are, in the order in which they are tried.
    pub basedirs: &'a [BorrowedFd<'a>],
    /// The fs-verity digest that the image must have.
    pub digest: Option<&'a Digest>,
    /// A signature that it must have.
    pub signature: Option<BorrowedFd<'a>>,
    /// What objects must prove.
    pub verity: Verity,
    /// What every mount may have.
    pub attributes: MountAttrFlags,
}

impl Detached<'_> {
    /// Mounts it.
    ///
    /// # Errors
    /// Whatever the kernel refuses; that it has no composefs.
    pub fn mount(&self) -> Result<OwnedFd, Error> {
        let context = Context::open(NAME)?.ok_or(Error::NoDriver("a mount for a user"))?;
        context.file("source", self.image)?;
        for basedir in self.basedirs {
            context.file("basedir", basedir)?;
        }
        if let Some(digest) = self.digest {
            driver::set_digest(&context, "digest", digest)?;
        }
        if let Some(signature) = self.signature {
            context.file("signature", signature)?;
        }
        context.text("verity", self.verity.name().to_bytes())?;
        context.create()?;
        context.mount(self.attributes)
    }
}

/// Shows the owners of what is in a mount that is nowhere yet as a user namespace does.
///
/// # Errors
/// Whatever the kernel refuses.
pub fn map_owners(mount: impl AsFd, namespace: impl AsFd) -> Result<(), Errno> {
    mount_setattr_idmap(mount, namespace)
        .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
}
