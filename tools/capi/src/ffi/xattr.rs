// SPDX-License-Identifier: GPL-2.0-only
//! The extended attributes of a node.

use std::ffi::{c_char, c_int};

use rustix::io::Errno;

use super::{bytes, guard, node, status, string};
use crate::node::Node;

/// How many there are.
///
/// # Safety
///
/// See [`super`].
#[no_mangle]
pub unsafe extern "C" fn lcfs_node_get_n_xattr(this: *mut Node) -> usize {
    // SAFETY: See the contract.
    guard(0, || unsafe { node(this) }.xattr_count())
}

/// The name of one by its number; null if there are not so many.
///
/// # Safety
///
/// See [`super`].
#[no_mangle]
pub unsafe extern "C" fn lcfs_node_get_xattr_name(this: *mut Node, index: usize) -> *const c_char {
    guard(std::ptr::null(), || {
        // SAFETY: See the contract.
        unsafe { node(this) }.xattr(index, |xattr| {
            xattr.map_or(std::ptr::null(), |xattr| xattr.name().as_ptr())
        })
    })
}

/// The value of the attribute `name`, whose length is put at `length` unless that is null; null if
/// there is none.
///
/// # Safety
///
/// See [`super`].
#[no_mangle]
pub unsafe extern "C" fn lcfs_node_get_xattr(
    this: *mut Node,
    name: *const c_char,
    length: *mut usize,
) -> *const c_char {
    guard(std::ptr::null(), || {
        // SAFETY: See the contract.
        let (this, name) = unsafe { (node(this), string(name)) };
        let Some(index) = name.and_then(|name| this.find_xattr(name)) else {
            return std::ptr::null();
        };
        this.xattr(index, |xattr| {
            let value = xattr.map(|xattr| xattr.value()).unwrap_or_default();
            if !length.is_null() {
                // SAFETY: The caller gives the place if it is not null.
                unsafe { *length = value.len() };
            }
            value.as_ptr().cast()
        })
    })
}

/// Sets the attribute `name`.
///
/// # Safety
///
/// See [`super`].
#[no_mangle]
pub unsafe extern "C" fn lcfs_node_set_xattr(
    this: *mut Node,
    name: *const c_char,
    value: *const c_char,
    length: usize,
) -> c_int {
    status(|| {
        // SAFETY: See the contract.
        let (this, name) = unsafe { (node(this), string(name).ok_or(Errno::INVAL)?) };
        if length > u16::MAX.into() {
            return Err(Errno::INVAL);
        }
        // SAFETY: See the contract.
        this.set_xattr(name, unsafe { bytes(value.cast(), length) })
    })
}

/// Takes the attribute `name` away.
///
/// # Safety
///
/// See [`super`].
#[no_mangle]
pub unsafe extern "C" fn lcfs_node_unset_xattr(this: *mut Node, name: *const c_char) -> c_int {
    // SAFETY: See the contract.
    status(|| unsafe { node(this).unset_xattr(string(name).ok_or(Errno::INVAL)?) })
}
