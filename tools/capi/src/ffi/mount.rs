// SPDX-License-Identifier: GPL-2.0-only
//! Mounting images.

use std::ffi::{c_char, c_int, c_void, CStr, OsStr};
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use composefs_format::{Digest, Verity};
use composefs_mount::options::{Options, Proof, Upper};
use rustix::fs::{open, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::MountAttrFlags;

use super::{file, status, string};

/// `struct lcfs_mount_options_s`.
#[repr(C)]
pub struct MountOptions {
    objdirs: *const *const c_char,
    n_objdirs: usize,
    workdir: *const c_char,
    upperdir: *const c_char,
    expected_fsverity_digest: *const c_char,
    flags: u32,
    idmap_fd: c_int,
    image_mountdir: *const c_char,
    reserved: [u32; 4],
    reserved2: [*mut c_void; 4],
}

const REQUIRE_VERITY: u32 = 1 << 0;
const READONLY: u32 = 1 << 1;
const IDMAP: u32 = 1 << 3;
const TRY_VERITY: u32 = 1 << 4;
const ALL: u32 = (1 << 5) - 1;

fn path(name: &CStr) -> &Path {
    Path::new(OsStr::from_bytes(name.to_bytes()))
}

/// The options, as ours.
///
/// # Safety
///
/// See [`super`], for all that they point to.
unsafe fn options(from: &MountOptions) -> Result<Options, Errno> {
    if from.flags & !ALL != 0 || from.n_objdirs == 0 {
        return Err(Errno::INVAL);
    }
    let mut basedirs = Vec::new();
    for index in 0..from.n_objdirs {
        // SAFETY: There are as many strings as the caller says.
        let name = unsafe { string(*from.objdirs.add(index)) };
        basedirs.push(PathBuf::from(path(name.ok_or(Errno::INVAL)?)));
    }
    // SAFETY: See the contract of this function.
    let (upper, work, digest, place) = unsafe {
        (
            string(from.upperdir),
            string(from.workdir),
            string(from.expected_fsverity_digest),
            string(from.image_mountdir),
        )
    };
    let upper = match (upper, work) {
        (Some(dir), Some(work)) => Some(Upper {
            dir: path(dir).into(),
            work: path(work).into(),
        }),
        (None, None) => None,
        _ => return Err(Errno::INVAL),
    };
    let digest = digest
        .map(|hex| Digest::parse_hex(hex.to_bytes()))
        .transpose();
    let verity = match from.flags {
        flags if flags & REQUIRE_VERITY != 0 => Some(Proof::Must(Verity::Require)),
        flags if flags & TRY_VERITY != 0 => Some(Proof::Try),
        _ => None,
    };
    let idmap = match from.flags & IDMAP != 0 {
        true if from.idmap_fd < 0 => return Err(Errno::INVAL),
        // SAFETY: The caller keeps it open meanwhile; it is not -1.
        true => Some(unsafe { BorrowedFd::borrow_raw(from.idmap_fd) }),
        false => None,
    };
    // Of objects nothing is asked by that alone, which the option of mount(8) does.
    let digest = digest.map_err(|_| Errno::INVAL)?;
    let (digest, image_digest) = match from.flags & REQUIRE_VERITY != 0 {
        true => (digest, None),
        false => (None, digest),
    };
    Ok(Options {
        basedirs,
        digest,
        image_digest,
        verity,
        upper,
        idmap: idmap
            .map(|file| file.try_clone_to_owned())
            .transpose()
            .map_err(|_| Errno::BADF)?,
        attributes: match from.flags & READONLY != 0 {
            true => MountAttrFlags::MOUNT_ATTR_RDONLY,
            false => MountAttrFlags::empty(),
        },
        image_mountdir: place.map(|place| path(place).into()),
        ..Options::default()
    })
}

/// Mounts the image that is open as `fd` at `target`.
///
/// # Safety
///
/// See [`super`].
#[no_mangle]
pub unsafe extern "C" fn lcfs_mount_fd(
    fd: c_int,
    target: *const c_char,
    from: *const MountOptions,
) -> c_int {
    status(|| {
        // SAFETY: See the contract.
        let (options, image, target) = unsafe {
            (
                options(&*from)?,
                file(fd)?,
                string(target).ok_or(Errno::INVAL)?,
            )
        };
        composefs_mount::mount(image, &options, path(target)).map_err(|error| error.errno())
    })
}

/// Mounts the image at `name` at `target`.
///
/// # Safety
///
/// See [`super`].
#[no_mangle]
pub unsafe extern "C" fn lcfs_mount_image(
    name: *const c_char,
    target: *const c_char,
    from: *const MountOptions,
) -> c_int {
    status(|| {
        // SAFETY: See the contract.
        let (options, name, target) = unsafe {
            (
                options(&*from)?,
                string(name).ok_or(Errno::INVAL)?,
                string(target),
            )
        };
        let image = open(name, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
        let target = path(target.ok_or(Errno::INVAL)?);
        composefs_mount::mount(image, &options, target).map_err(|error| error.errno())
    })
}
