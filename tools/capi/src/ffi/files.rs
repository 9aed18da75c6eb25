// SPDX-License-Identifier: GPL-2.0-only
//! Nodes of files.

use std::ffi::{c_char, c_int, CString};
use std::os::unix::ffi::OsStringExt;

use rustix::io::Errno;

use super::{file, new_node, node, status, string};
use crate::load::{self, Flags};
use crate::node::Node;

/// A node of the file `name` in `dir`.
///
/// # Safety
///
/// See [`super`].
#[no_mangle]
pub unsafe extern "C" fn lcfs_load_node_from_file(
    dir: c_int,
    name: *const c_char,
    flags: c_int,
) -> *mut Node {
    // SAFETY: See the contract.
    new_node(|| unsafe {
        load::file(
            file(dir)?,
            string(name).ok_or(Errno::INVAL)?,
            Flags(flags as u32),
        )
    })
}

/// Gives a node what the content of the file `name` in `dir` says of it. `this` may be null.
///
/// # Safety
///
/// See [`super`].
#[no_mangle]
pub unsafe extern "C" fn lcfs_node_set_from_content(
    this: *mut Node,
    dir: c_int,
    name: *const c_char,
    flags: c_int,
) -> c_int {
    status(|| {
        if this.is_null() {
            return Err(Errno::INVAL);
        }
        // SAFETY: See the contract.
        let (this, dir, name) = unsafe { (node(this), file(dir)?, string(name)) };
        load::set_from_content(&this, dir, name.ok_or(Errno::INVAL)?, Flags(flags as u32))
    })
}

/// A node of the file `name` in `dir`, and all below it. Where that fails, the path of what it
/// failed at is put at `failed`, for the caller to free; `failed` may be null.
///
/// # Safety
///
/// See [`super`].
#[no_mangle]
pub unsafe extern "C" fn lcfs_build(
    dir: c_int,
    name: *const c_char,
    flags: c_int,
    failed: *mut *mut c_char,
) -> *mut Node {
    new_node(|| {
        // SAFETY: See the contract.
        let (dir, name) = unsafe { (file(dir)?, string(name).ok_or(Errno::INVAL)?) };
        load::tree(dir, name, Flags(flags as u32)).map_err(|failure| {
            let path = CString::new(failure.path.into_os_string().into_vec());
            if let (false, Ok(path)) = (failed.is_null(), path) {
                // SAFETY: The caller gives the place; what is put there came from malloc().
                unsafe { *failed = libc::strdup(path.as_ptr()) };
            }
            failure.errno
        })
    })
}
