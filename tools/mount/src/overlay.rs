// SPDX-License-Identifier: GPL-2.0-only
//! overlayfs: as a writable layer above the driver's mount, or with EROFS instead of it, as
//! composefs 1.0 mounts an image.

use std::ffi::{CString, OsStr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use composefs_format::Verity;
use composefs_ioctls::loop_device::loopify;
use composefs_ioctls::mount::mount_setattr_idmap;
use rustix::fs::{fstat, CWD};
use rustix::io::Errno;
use rustix::mount::{unmount, MountAttrFlags, MountFlags, UnmountFlags};
use rustix::param::page_size;
use tempfile::TempDir;

use crate::context::{attach, open_path, Context};
use crate::error::{Error, Step};
use crate::image::Header;
use crate::options::{Options, Proof, Upper};

/// What mounts show as their source.
const SOURCE: &[u8] = b"composefs";

/// A layer that can be written to, above `lower`, at `target`.
pub fn above(
    lower: &OwnedFd,
    upper: &Upper,
    options: &Options,
    target: &Path,
) -> Result<(), Error> {
    let context = open()?;
    context.file("lowerdir+", lower)?;
    set_upper(&context, Some(upper))?;
    finish(&context, options, target)
}

/// The same for whoever is root in a user namespace only, of a mount that somebody else made.
pub fn above_for_user(lower: &OwnedFd, upper: &Upper, target: &Path) -> Result<(), Error> {
    // overlayfs takes it only from among the user's own mounts.
    let at = || format!("cannot mount at {}", target.display());
    attach(lower, CWD, target).step(at)?;
    let overlay = open_path(target).and_then(|lower| {
        let context = plain()?;
        context.file("lowerdir+", &lower)?;
        set_upper(&context, Some(upper))?;
        // Its own attributes are for root alone elsewhere.
        context.flag("userxattr")?;
        context.create()?;
        context.mount(MountAttrFlags::empty())
    });
    // From here on only the overlay has it.
    unmount(target, UnmountFlags::DETACH)
        .step(|| format!("cannot unmount {}", target.display()))?;
    attach(&overlay?, CWD, target).step(at)
}

/// A layer that can be written to, `upper`, above the directory `lower`; a mount that is nowhere
/// yet. `work` is for overlayfs's own use, on the same file system.
///
/// # Errors
/// Whatever overlayfs refuses.
pub fn writable(lower: impl AsFd, upper: impl AsFd, work: impl AsFd) -> Result<OwnedFd, Error> {
    let context = plain()?;
    context.file("lowerdir+", lower)?;
    context.file("upperdir", upper)?;
    context.file("workdir", work)?;
    context.create()?;
    context.mount(MountAttrFlags::empty())
}

fn plain() -> Result<Context, Error> {
    let context = Context::open("overlay")?.ok_or(Error::NoDriver("mounting without overlayfs"))?;
    context.text("source", SOURCE)?;
    Ok(context)
}

/// EROFS for the metadata of `image`, and overlayfs for the content of its files, at `target`.
pub fn instead(
    image: BorrowedFd,
    header: Header,
    options: &Options,
    target: &Path,
) -> Result<(), Error> {
    let erofs = erofs(image, header, options)?;
    let place = Place::new(options)?;
    attach(&erofs, CWD, place.path())
        .step(|| format!("cannot mount at {}", place.path().display()))?;
    let result = layers(place.path(), options, target);
    // From here on only the overlay has it.
    let _ = unmount(place.path(), UnmountFlags::DETACH);
    result
}

/// A mount of the metadata that is nowhere yet.
fn erofs(image: BorrowedFd, header: Header, options: &Options) -> Result<OwnedFd, Error> {
    let path = |file: BorrowedFd| format!("/proc/self/fd/{}", file.as_raw_fd());
    let on_a_device = || {
        let device = loopify(image).step(|| "cannot make a loop device of it".into())?;
        erofs_from(&path(device.as_fd()), header)
    };
    let context = if fills_pages(image) {
        match erofs_from(&path(image), header) {
            // Before 6.12, EROFS wants a block device.
            Err(error) if error.errno() == Errno::NOTBLK => on_a_device(),
            result => result,
        }
    } else {
        on_a_device()
    }?;
    let mount = context.mount(MountAttrFlags::MOUNT_ATTR_RDONLY)?;
    if let Some(namespace) = &options.idmap {
        mount_setattr_idmap(&mount, namespace)
            .step(|| "cannot map owners as the user namespace does".into())?;
    }
    Ok(mount)
}

/// Whether an image ends where a page does. On a file, EROFS reads metadata by whole pages (7.3),
/// and gives EIO for all that is in the last one otherwise: where pages are larger than blocks.
fn fills_pages(image: BorrowedFd) -> bool {
    let size = fstat(image).map_or(0, |stat| stat.st_size);
    usize::try_from(size).is_ok_and(|size| size % page_size() == 0)
}

fn erofs_from(source: &str, header: Header) -> Result<Context, Error> {
    let context = Context::open("erofs")?.ok_or(Error::NoDriver("mounting without EROFS"))?;
    context.text("source", source.as_bytes())?;
    context.flag("ro")?;
    if !header.has_acl {
        context.flag("noacl")?;
    }
    context.create()?;
    Ok(context)
}

/// Where the metadata is mounted until the overlay has it.
enum Place<'a> {
    Named(&'a Path),
    Temporary(TempDir),
}

impl<'a> Place<'a> {
    fn new(options: &'a Options) -> Result<Self, Error> {
        if let Some(path) = &options.image_mountdir {
            return Ok(Self::Named(path));
        }
        tempfile::Builder::new()
            .prefix(".composefs.")
            .tempdir()
            .map(Self::Temporary)
            .step(|| "cannot make a temporary directory".into())
    }

    fn path(&self) -> &Path {
        match self {
            Self::Named(path) => path,
            Self::Temporary(dir) => dir.path(),
        }
    }
}

fn layers(metadata: &Path, options: &Options, target: &Path) -> Result<(), Error> {
    let result = open().and_then(|context| {
        set_layers(&context, metadata, options)?;
        finish(&context, options, target)
    });
    match result {
        // That is what kernels before 6.7 say, which do not know layers one by one.
        Err(first) if matches!(first.errno(), Errno::INVAL | Errno::NOSYS) => {
            by_one_text(metadata, options, target).map_err(|_| first)
        }
        result => result,
    }
}

fn open() -> Result<Context, Error> {
    let context = plain()?;
    context.text("metacopy", b"on")?;
    context.text("redirect_dir", b"on")?;
    Ok(context)
}

fn set_layers(context: &Context, metadata: &Path, options: &Options) -> Result<(), Error> {
    match options.verity() {
        Proof::Must(Verity::Off) => {}
        Proof::Must(level) => context.text("verity", level.name().to_bytes())?,
        // A kernel before 6.6 has no such option.
        Proof::Try => drop(context.text("verity", b"require")),
    }
    context.path("lowerdir+", metadata)?;
    for basedir in &options.basedirs {
        context.path("datadir+", basedir)?;
    }
    set_upper(context, options.upper.as_ref())
}

fn set_upper(context: &Context, upper: Option<&Upper>) -> Result<(), Error> {
    if let Some(Upper { dir, work }) = upper {
        context.path("upperdir", dir)?;
        context.path("workdir", work)?;
    }
    Ok(())
}

fn finish(context: &Context, options: &Options, target: &Path) -> Result<(), Error> {
    for (key, value) in &options.security {
        context.text(key, value)?;
    }
    context.create()?;
    let mount = context.mount(options.attributes)?;
    attach(&mount, CWD, target).step(|| format!("cannot mount at {}", target.display()))
}

/// As kernels before 6.7 want it, which know layers as one text only; those before 6.5 do not know
/// layers of data, and take them for ordinary ones.
fn by_one_text(metadata: &Path, options: &Options, target: &Path) -> Result<(), Error> {
    let flags = match options
        .attributes
        .contains(MountAttrFlags::MOUNT_ATTR_RDONLY)
    {
        true => MountFlags::RDONLY | MountFlags::SILENT,
        false => MountFlags::SILENT,
    };
    let mut result = Ok(());
    for separator in ["::", ":"] {
        let data = one_text(metadata, options, separator);
        result = rustix::mount::mount(SOURCE, target, "overlay", flags, data.as_deref());
        if result != Err(Errno::INVAL) {
            break;
        }
    }
    result.step(|| "overlay refuses it".into())
}

fn one_text(metadata: &Path, options: &Options, separator: &str) -> Option<CString> {
    let mut text = b"metacopy=on,redirect_dir=on,lowerdir=".to_vec();
    let mut add = |before: &str, path: &Path| {
        text.extend(before.as_bytes());
        push_escaped(&mut text, path.as_os_str());
    };
    add("", metadata);
    for basedir in &options.basedirs {
        add(separator, basedir);
    }
    if let Some(Upper { dir, work }) = &options.upper {
        add(",upperdir=", dir);
        add(",workdir=", work);
    }
    if options.verity() == Proof::Must(Verity::Require) {
        text.extend(b",verity=require");
    }
    CString::new(text).ok()
}

fn push_escaped(text: &mut Vec<u8>, path: &OsStr) {
    for &byte in path.as_bytes() {
        if byte == b',' {
            text.push(b'\\');
        }
        text.push(byte);
    }
}
