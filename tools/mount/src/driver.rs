// SPDX-License-Identifier: GPL-2.0-only
//! A mount by the kernel's own composefs.

use std::fs::File;
use std::os::fd::{BorrowedFd, OwnedFd};

use composefs_format::{Digest, Verity};
use composefs_ioctls::mount::mount_setattr_idmap;
use rustix::mount::MountAttrFlags;

use crate::context::{open_path, Context};
use crate::error::{Error, Step};
use crate::options::Options;

/// What the kernel calls it.
pub const NAME: &str = "composefs";

/// A mount of `image` that is nowhere yet; `None` if the kernel has no such file system, nor a
/// module of it that it could load.
pub fn mount(image: BorrowedFd, options: &Options) -> Result<Option<OwnedFd>, Error> {
    let Some(context) = Context::open(NAME)? else {
        return Ok(None);
    };
    context.file("source", image)?;
    configure(&context, options, Some(options.verity().with_driver()))?;
    context.create()?;
    finish(&context, options).map(Some)
}

/// Sets what the options say, less the image.
pub fn configure(context: &Context, options: &Options, level: Option<Verity>) -> Result<(), Error> {
    for basedir in &options.basedirs {
        context.file("basedir", open_path(basedir)?)?;
    }
    for (key, digest) in [
        ("digest", &options.digest),
        ("image_digest", &options.image_digest),
    ] {
        if let Some(digest) = digest {
            set_digest(context, key, digest)?;
        }
    }
    if let Some(path) = &options.signature {
        let file = File::open(path).step(|| format!("cannot open {}", path.display()))?;
        context.file("signature", file)?;
    }
    if let Some(level) = level {
        context.text("verity", level.name().to_bytes())?;
    }
    for (key, value) in &options.security {
        context.text(key, value)?;
    }
    Ok(())
}

/// Sets an option to a digest.
pub fn set_digest(context: &Context, key: &str, digest: &Digest) -> Result<(), Error> {
    let text = format!("{}:{digest}", digest.algorithm().name());
    context.text(key, text.as_bytes())
}

fn finish(context: &Context, options: &Options) -> Result<OwnedFd, Error> {
    // Below an overlay these are the overlay's.
    let attributes = match options.upper {
        Some(_) => MountAttrFlags::empty(),
        None => options.attributes,
    };
    let mount = context.mount(attributes)?;
    if let Some(namespace) = &options.idmap {
        mount_setattr_idmap(&mount, namespace)
            .step(|| "cannot map owners as the user namespace does".into())?;
    }
    Ok(mount)
}
