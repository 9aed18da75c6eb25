// SPDX-License-Identifier: GPL-2.0-only
//! fs-verity digests of files and of content.

use std::ffi::{c_int, c_void};

use rustix::io::Errno;

use super::{bytes, file, negative, node, status};
use crate::node::Node;
use crate::verity::{self, Bytes};

/// Reads at most `count` bytes of `file` to `buf`: how many, 0 at the end, or below 0 for an error.
pub type ReadCallback =
    unsafe extern "C" fn(file: *mut c_void, buf: *mut c_void, count: usize) -> isize;

/// The digest of what `read` gives of `from`.
///
/// # Safety
///
/// `read` must be what it says for `from`.
unsafe fn of_content(from: *mut c_void, read: ReadCallback) -> Result<Bytes, Errno> {
    verity::of_content(|buffer| {
        // SAFETY: The buffer has this length; the rest is the caller's word.
        let len = unsafe { read(from, buffer.as_mut_ptr().cast(), buffer.len()) };
        usize::try_from(len).map_err(|_| Errno::NODATA)
    })
}

/// Puts a digest at `to`.
///
/// # Safety
///
/// There must be 32 bytes.
unsafe fn put(to: *mut u8, digest: Bytes) {
    // SAFETY: By the contract of this function.
    unsafe { to.cast::<Bytes>().write_unaligned(digest) };
}

/// Computes the digest of what `read` gives of `from`.
///
/// # Safety
///
/// See [`super`]; `digest` has 32 bytes.
#[no_mangle]
pub unsafe extern "C" fn lcfs_compute_fsverity_from_content(
    digest: *mut u8,
    from: *mut c_void,
    read: ReadCallback,
) -> c_int {
    // SAFETY: See the contract.
    status(|| unsafe {
        put(digest, of_content(from, read)?);
        Ok(())
    })
}

/// Computes the digest of what a file holds from where it is positioned.
///
/// # Safety
///
/// See [`super`]; `digest` has 32 bytes.
#[no_mangle]
pub unsafe extern "C" fn lcfs_compute_fsverity_from_fd(digest: *mut u8, fd: c_int) -> c_int {
    // SAFETY: See the contract.
    status(|| unsafe {
        put(digest, verity::of_file(file(fd)?)?);
        Ok(())
    })
}

/// Computes the digest of `data`.
///
/// # Safety
///
/// See [`super`]; `digest` has 32 bytes.
#[no_mangle]
pub unsafe extern "C" fn lcfs_compute_fsverity_from_data(
    digest: *mut u8,
    data: *const u8,
    len: usize,
) -> c_int {
    // SAFETY: See the contract.
    status(|| unsafe {
        put(digest, verity::of_data(bytes(data, len))?);
        Ok(())
    })
}

/// The digest that the kernel has for a file.
///
/// # Safety
///
/// See [`super`]; `digest` has 32 bytes.
#[no_mangle]
pub unsafe extern "C" fn lcfs_fd_measure_fsverity(digest: *mut u8, fd: c_int) -> c_int {
    // SAFETY: See the contract.
    negative(|| unsafe {
        put(digest, verity::measured(file(fd)?)?);
        Ok(())
    })
}

/// The digest that the kernel has for a file, or else that of its content.
///
/// # Safety
///
/// See [`super`]; `digest` has 32 bytes.
#[no_mangle]
pub unsafe extern "C" fn lcfs_fd_get_fsverity(digest: *mut u8, fd: c_int) -> c_int {
    // SAFETY: See the contract.
    negative(|| unsafe {
        put(digest, verity::of_whole_file(file(fd)?)?);
        Ok(())
    })
}

/// Enables fs-verity on a file.
///
/// # Safety
///
/// See [`super`].
#[no_mangle]
pub unsafe extern "C" fn lcfs_fd_enable_fsverity(fd: c_int) -> c_int {
    // SAFETY: See the contract.
    negative(|| unsafe { verity::enable(file(fd)?) })
}

/// Sets the digest of a node: that of what `read` gives of `from`.
///
/// # Safety
///
/// See [`super`].
#[no_mangle]
pub unsafe extern "C" fn lcfs_node_set_fsverity_from_content(
    this: *mut Node,
    from: *mut c_void,
    read: ReadCallback,
) -> c_int {
    status(|| {
        // SAFETY: See the contract.
        let (this, digest) = unsafe { (node(this), of_content(from, read)?) };
        this.set_digest(Some(digest));
        Ok(())
    })
}

/// Sets the digest of a node: that of what a file holds from where it is positioned.
///
/// # Safety
///
/// See [`super`].
#[no_mangle]
pub unsafe extern "C" fn lcfs_node_set_fsverity_from_fd(this: *mut Node, fd: c_int) -> c_int {
    status(|| {
        // SAFETY: See the contract.
        let (this, digest) = unsafe { (node(this), verity::of_file(file(fd)?)?) };
        this.set_digest(Some(digest));
        Ok(())
    })
}
