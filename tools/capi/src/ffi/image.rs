// SPDX-License-Identifier: GPL-2.0-only
//! Images of trees, and trees of images.

use std::ffi::{c_char, c_int, c_void, CStr};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;

use composefs_format::disk::header;
use rustix::fs::{memfd_create, MemfdFlags};
use rustix::io::Errno;

use super::{bytes, fail, file, guard, new_node, node, status};
use crate::image;
use crate::node::Node;

/// Writes `count` bytes at `buf` to `file`: how many, or 0 or less for an error, with errno.
type WriteCallback =
    unsafe extern "C" fn(file: *mut c_void, buf: *mut c_void, count: usize) -> isize;

/// `struct lcfs_write_options_s`.
#[repr(C)]
pub struct WriteOptions {
    format: u32,
    version: u32,
    flags: u32,
    digest_out: *mut u8,
    file: *mut c_void,
    file_write_cb: Option<WriteCallback>,
    max_version: u32,
    reserved: [u32; 3],
    reserved2: [*mut c_void; 4],
}

/// `struct lcfs_read_options_s`.
#[repr(C)]
pub struct ReadOptions {
    toplevel_entries: *const *const c_char,
    reserved: [u32; 3],
    reserved2: [*mut c_void; 4],
}

/// Where a C program has an image written to.
///
/// # Invariants
///
/// `write` may be called with `file`.
struct Output {
    file: *mut c_void,
    write: WriteCallback,
}

impl Write for Output {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        fail(Errno::IO);
        // SAFETY: By the type invariant. C's writers do not change what they write, though the
        // type would let them.
        let len =
            unsafe { (self.write)(self.file, buffer.as_ptr().cast_mut().cast(), buffer.len()) };
        match usize::try_from(len) {
            Ok(len) if (1..=buffer.len()).contains(&len) => Ok(len),
            _ => Err(io::Error::from_raw_os_error(errno::errno().0)),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes `root` and all below it as an image.
///
/// # Safety
///
/// See [`super`].
#[no_mangle]
pub unsafe extern "C" fn lcfs_write_to(root: *mut Node, options: *mut WriteOptions) -> c_int {
    status(|| {
        // SAFETY: The caller gives options that nobody else uses meanwhile.
        let options = unsafe { &mut *options };
        if options.format != 0 || options.flags != 0 {
            return Err(Errno::INVAL);
        }
        let mut output = options.file_write_cb.map(|write| Output {
            file: options.file,
            write,
        });
        let (version, digest) = image::write(
            // SAFETY: See the contract.
            unsafe { &node(root) },
            options.version,
            options.max_version,
            !options.digest_out.is_null(),
            output.as_mut().map(|output| output as &mut dyn Write),
        )?;
        options.version = version;
        options.max_version = options.max_version.max(version);
        if let Some(digest) = digest {
            let digest = digest.as_bytes();
            // SAFETY: Where a digest was wanted there are 32 bytes for it, which is how many one of
            // SHA-256 has.
            unsafe {
                options
                    .digest_out
                    .copy_from_nonoverlapping(digest.as_ptr(), digest.len().min(32));
            }
        }
        Ok(())
    })
}

/// The version of the image that is open as `fd`, or -1 and errno.
///
/// # Safety
///
/// See [`super`].
#[no_mangle]
pub unsafe extern "C" fn lcfs_version_from_fd(fd: c_int) -> c_int {
    let version = || -> Result<c_int, Errno> {
        let mut bytes = [0; 32];
        // SAFETY: See the contract.
        let len = rustix::io::pread(unsafe { file(fd) }?, &mut bytes, 0)?;
        let number = |at: usize| {
            let bytes = bytes[..len].get(at..)?.first_chunk()?;
            Some(u32::from_le_bytes(*bytes))
        };
        match (
            number(header::at::MAGIC.offset()),
            number(header::at::VERSION.offset()),
            number(header::at::FORMAT.offset()),
        ) {
            (Some(header::MAGIC), Some(header::VERSION), Some(version)) => Ok(version as c_int),
            _ => Err(Errno::INVAL),
        }
    };
    guard(-1, || {
        version().unwrap_or_else(|error| {
            fail(error);
            -1
        })
    })
}

/// The names that are wanted; `None` for all of them.
///
/// # Safety
///
/// `options` must be null, or have names that live as long as the caller says.
unsafe fn names<'a>(options: *const ReadOptions) -> Option<Vec<&'a [u8]>> {
    // SAFETY: By the contract of this function.
    let list = unsafe { options.as_ref() }?.toplevel_entries;
    if list.is_null() {
        return None;
    }
    let mut names = Vec::new();
    // SAFETY: By the contract of this function; a null ends the list.
    unsafe {
        while !(*list.add(names.len())).is_null() {
            names.push(CStr::from_ptr(*list.add(names.len())).to_bytes());
        }
    }
    Some(names)
}

/// The tree of the image that is open as `fd`.
///
/// # Safety
///
/// See [`super`].
#[no_mangle]
pub unsafe extern "C" fn lcfs_load_node_from_fd_ext(
    fd: c_int,
    options: *const ReadOptions,
) -> *mut Node {
    new_node(|| {
        // SAFETY: See the contract.
        let (file, names) = unsafe { (file(fd)?, names(options)) };
        let file = file.try_clone_to_owned().map_err(|_| Errno::BADF)?;
        image::read(File::from(file), names)
    })
}

/// The tree of the image that is open as `fd`.
///
/// # Safety
///
/// See [`super`].
#[no_mangle]
pub unsafe extern "C" fn lcfs_load_node_from_fd(fd: c_int) -> *mut Node {
    // SAFETY: See the contract.
    unsafe { lcfs_load_node_from_fd_ext(fd, std::ptr::null()) }
}

/// The tree of the image at `data`.
///
/// # Safety
///
/// See [`super`].
#[no_mangle]
pub unsafe extern "C" fn lcfs_load_node_from_image_ext(
    data: *const u8,
    size: usize,
    options: *const ReadOptions,
) -> *mut Node {
    new_node(|| {
        // SAFETY: See the contract.
        let (data, names) = unsafe { (bytes(data, size), names(options)) };
        let file = File::from(memfd_create("image", MemfdFlags::CLOEXEC)?);
        let written = (&file).write_all(data);
        written.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
        rustix::fs::seek(file.as_fd(), rustix::fs::SeekFrom::Start(0))?;
        image::read(file, names)
    })
}

/// The tree of the image at `data`.
///
/// # Safety
///
/// See [`super`].
#[no_mangle]
pub unsafe extern "C" fn lcfs_load_node_from_image(data: *const u8, size: usize) -> *mut Node {
    // SAFETY: See the contract.
    unsafe { lcfs_load_node_from_image_ext(data, size, std::ptr::null()) }
}
