// SPDX-License-Identifier: GPL-2.0-only
//! Mounts composefs images: by the kernel's own file system where there is one, else by EROFS and
//! overlayfs, as composefs 1.0 does. Both mean the same.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod context;
pub mod detached;
mod driver;
mod error;
mod image;
pub mod options;
mod overlay;
mod remount;

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::CWD;

pub use error::Error;
use error::Step;
use options::{Driver, Options, Upper};
pub use overlay::writable;
pub use remount::remount;

/// Mounts the image that is open as `image` at the directory `target`.
///
/// # Errors
/// If an option asks for what neither way to mount it has; if the image is not the one that is
/// wanted; whatever the kernel refuses.
pub fn mount(image: impl AsFd, options: &Options, target: &Path) -> Result<(), Error> {
    let image = image.as_fd();
    let header = image::check(image, &[&options.digest, &options.image_digest])?;

    let lower = match options.driver {
        Driver::Overlay => None,
        Driver::Auto | Driver::Kernel => driver::mount(image, options)?,
    };
    match (lower, options.driver) {
        (Some(lower), _) => match &options.upper {
            Some(upper) => overlay::above(&lower, upper, options, target),
            None => attach(&lower, target),
        },
        (None, Driver::Kernel) => Err(Error::NoDriver("composefs.driver=kernel")),
        (None, _) if options.signature.is_some() => Err(Error::NoDriver("signature=")),
        (None, _) => overlay::instead(image, header, options, target),
    }
}

/// Puts a mount that somebody else made at the directory `target`, or above it `upper`, which can be
/// written to. For that one needs no privilege but in a user namespace of one's own.
///
/// # Errors
/// Whatever the kernel refuses.
pub fn attach_for_user(mount: &OwnedFd, upper: Option<&Upper>, target: &Path) -> Result<(), Error> {
    match upper {
        Some(upper) => overlay::above_for_user(mount, upper, target),
        None => attach(mount, target),
    }
}

fn attach(mount: &OwnedFd, target: &Path) -> Result<(), Error> {
    context::attach(mount, CWD, target).step(|| format!("cannot mount at {}", target.display()))
}
