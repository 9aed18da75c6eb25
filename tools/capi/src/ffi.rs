// SPDX-License-Identifier: GPL-2.0-only
//! What C sees. Types, flags and errors are those of `include/lcfs-writer.h` and `lcfs-mount.h`.
//!
//! All functions have the same contract, which is C's: pointers are valid, strings end with a NUL,
//! and no two threads use nodes of one tree, or nodes that are links between trees, at the same time,
//! not even to look at them. Where a pointer may be null, that is said.

mod children;
mod files;
mod image;
mod mount;
mod node;
mod verity;
mod xattr;

use std::ffi::{c_char, c_int, CStr};
use std::mem::ManuallyDrop;
use std::os::fd::BorrowedFd;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::rc::Rc;

use errno::set_errno;
use rustix::io::Errno;

use crate::node::Node;

/// What a panic, which must not get into C, ends as.
const PANIC: Errno = Errno::IO;

/// What `f` gives; `failure` if it panics.
fn guard<T>(failure: T, f: impl FnOnce() -> T) -> T {
    catch_unwind(AssertUnwindSafe(f)).unwrap_or_else(|_| {
        fail(PANIC);
        failure
    })
}

fn fail(error: Errno) {
    set_errno(errno::Errno(error.raw_os_error()));
}

/// 0, or -1 and errno.
fn status(f: impl FnOnce() -> Result<(), Errno>) -> c_int {
    guard(-1, || match f() {
        Ok(()) => 0,
        Err(error) => {
            fail(error);
            -1
        }
    })
}

/// 0, or the error as a negative number, and errno.
fn negative(f: impl FnOnce() -> Result<(), Errno>) -> c_int {
    guard(-PANIC.raw_os_error(), || match f() {
        Ok(()) => 0,
        Err(error) => {
            fail(error);
            -error.raw_os_error()
        }
    })
}

/// A new reference to a node, or null and errno.
fn new_node(f: impl FnOnce() -> Result<Rc<Node>, Errno>) -> *mut Node {
    guard(std::ptr::null_mut(), || match f() {
        Ok(node) => Rc::into_raw(node).cast_mut(),
        Err(error) => {
            fail(error);
            std::ptr::null_mut()
        }
    })
}

/// The address of a node that somebody else holds a reference to; null if there is none.
fn borrowed(node: Option<Rc<Node>>) -> *mut Node {
    node.map_or(std::ptr::null_mut(), |node| Rc::as_ptr(&node).cast_mut())
}

/// The node at `node`, without a new reference.
///
/// # Safety
///
/// `node` must be one that this library gave, which has a reference left.
unsafe fn node(node: *mut Node) -> ManuallyDrop<Rc<Node>> {
    // SAFETY: All nodes come from `Rc::into_raw()`; the reference is left to whoever has it.
    ManuallyDrop::new(unsafe { Rc::from_raw(node) })
}

/// The string at `string`; `None` if it is null.
///
/// # Safety
///
/// It must be null or a string that lives as long as the caller says.
unsafe fn string<'a>(string: *const c_char) -> Option<&'a CStr> {
    // SAFETY: By the contract of this function.
    (!string.is_null()).then(|| unsafe { CStr::from_ptr(string) })
}

/// The bytes at `data`; none if it is null.
///
/// # Safety
///
/// It must be null or have `len` bytes that live as long as the caller says.
unsafe fn bytes<'a>(data: *const u8, len: usize) -> &'a [u8] {
    match data.is_null() || len == 0 {
        true => &[],
        // SAFETY: By the contract of this function.
        false => unsafe { std::slice::from_raw_parts(data, len) },
    }
}

/// The file that is open as `fd`, also where that is `AT_FDCWD`.
///
/// # Errors
/// [`Errno::BADF`] if it can be none.
///
/// # Safety
///
/// It must stay open as long as the caller says.
unsafe fn file<'a>(fd: c_int) -> Result<BorrowedFd<'a>, Errno> {
    match fd {
        libc::AT_FDCWD => Ok(rustix::fs::CWD),
        fd if fd < 0 => Err(Errno::BADF),
        // SAFETY: By the contract of this function; it is not -1.
        fd => Ok(unsafe { BorrowedFd::borrow_raw(fd) }),
    }
}

/// The address of a string; null if there is none.
fn address(string: Option<&CStr>) -> *const c_char {
    string.map_or(std::ptr::null(), CStr::as_ptr)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fails<T>() -> Result<T, Errno> {
        panic!("for the test");
    }

    #[test]
    fn a_panic_is_an_error_for_c() {
        let after = |value: i64, expected: i64| {
            assert_eq!(value, expected);
            assert_eq!(errno::errno().0, PANIC.raw_os_error());
            set_errno(errno::Errno(0));
        };
        after(status(fails).into(), -1);
        after(negative(fails).into(), i64::from(-PANIC.raw_os_error()));
        after(new_node(fails).addr() as i64, 0);
        after(guard(7, || fails().unwrap_or(1)), 7);
    }
}
