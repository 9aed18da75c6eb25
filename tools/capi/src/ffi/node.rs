// SPDX-License-Identifier: GPL-2.0-only
//! A single node: its references, and what `stat` says of it.

use std::ffi::{c_char, c_int};
use std::rc::Rc;

use composefs_tools::tree::Time;
use rustix::io::Errno;

use super::{address, bytes, guard, new_node, node, status, string};
use crate::node::{Node, Stat};
use crate::verity::Bytes;

/// A new node, of which the caller has the reference; null and errno if there is no memory.
#[no_mangle]
pub extern "C" fn lcfs_node_new() -> *mut Node {
    new_node(|| Ok(Node::new()))
}

/// One more reference to `this`, which is returned.
///
/// # Safety
///
/// See [`super`].
#[no_mangle]
pub unsafe extern "C" fn lcfs_node_ref(this: *mut Node) -> *mut Node {
    // SAFETY: The caller gives a node that it has a reference to.
    unsafe { Rc::increment_strong_count(this) };
    this
}

/// Gives up a reference.
///
/// # Safety
///
/// See [`super`]; the reference must be the caller's.
#[no_mangle]
pub unsafe extern "C" fn lcfs_node_unref(this: *mut Node) {
    // SAFETY: The caller gives a reference that is its own.
    guard((), || unsafe { Rc::decrement_strong_count(this) });
}

/// A copy without a name, parent and children.
///
/// # Safety
///
/// See [`super`].
#[no_mangle]
pub unsafe extern "C" fn lcfs_node_clone(this: *mut Node) -> *mut Node {
    // SAFETY: See the contract.
    new_node(|| Ok(unsafe { node(this) }.copy()))
}

/// What `stat` says of it.
///
/// # Safety
///
/// `this` must be a node.
unsafe fn stat(this: *mut Node) -> Stat {
    // SAFETY: See the contract.
    guard(Stat::default(), || unsafe { node(this) }.stat())
}

/// # Safety
///
/// `this` must be a node.
unsafe fn change(this: *mut Node, f: impl FnOnce(&mut Stat)) {
    // SAFETY: See the contract.
    guard((), || unsafe { node(this) }.change(f));
}

macro_rules! numbers {
    ($($get:ident, $set:ident, $type:ty, $what:literal, $stat:ident => $value:expr, $new:ident => $field:ident = $number:expr;)*) => {$(
        #[doc = $what]
        ///
        /// # Safety
        ///
        /// See [`super`].
        #[no_mangle]
        pub unsafe extern "C" fn $get(this: *mut Node) -> $type {
            // SAFETY: See the contract.
            let $stat = unsafe { stat(this) };
            $value
        }

        #[doc = concat!("Sets: ", $what)]
        ///
        /// # Safety
        ///
        /// See [`super`].
        #[no_mangle]
        pub unsafe extern "C" fn $set(this: *mut Node, $new: $type) {
            // SAFETY: See the contract.
            unsafe { change(this, |stat| stat.$field = $number) };
        }
    )*};
}

numbers! {
    lcfs_node_get_mode, lcfs_node_set_mode, u32, "The file type and permissions.",
        stat => stat.mode, new => mode = new;
    lcfs_node_get_uid, lcfs_node_set_uid, u32, "The owner.",
        stat => stat.uid, new => uid = new;
    lcfs_node_get_gid, lcfs_node_set_gid, u32, "The group.",
        stat => stat.gid, new => gid = new;
    lcfs_node_get_nlink, lcfs_node_set_nlink, u32, "The number of links.",
        stat => stat.nlink, new => nlink = new;
    lcfs_node_get_rdev, lcfs_node_set_rdev, u32, "The device number.",
        stat => stat.rdev, new => rdev = new;
    lcfs_node_get_rdev64, lcfs_node_set_rdev64, u64, "The device number; 32 bits of it are kept.",
        stat => stat.rdev.into(), new => rdev = new as u32;
}

/// Sets the mode, unless it has no file type.
///
/// # Safety
///
/// See [`super`].
#[no_mangle]
pub unsafe extern "C" fn lcfs_node_try_set_mode(this: *mut Node, mode: u32) -> c_int {
    status(|| {
        composefs_tools::tree::FileType::from_mode(mode as u16).ok_or(Errno::INVAL)?;
        // SAFETY: See the contract.
        unsafe { change(this, |stat| stat.mode = mode) };
        Ok(())
    })
}

/// Whether it is a directory.
///
/// # Safety
///
/// See [`super`].
#[no_mangle]
pub unsafe extern "C" fn lcfs_node_dirp(this: *mut Node) -> bool {
    // SAFETY: See the contract.
    guard(false, || unsafe { node(this) }.is_dir())
}

/// The size.
///
/// # Safety
///
/// See [`super`].
#[no_mangle]
pub unsafe extern "C" fn lcfs_node_get_size(this: *mut Node) -> u64 {
    // SAFETY: See the contract.
    unsafe { stat(this) }.size
}

/// Sets the size; content of another size is forgotten.
///
/// # Safety
///
/// See [`super`].
#[no_mangle]
pub unsafe extern "C" fn lcfs_node_set_size(this: *mut Node, size: u64) {
    // SAFETY: See the contract.
    guard((), || unsafe { node(this) }.set_size(size));
}

/// Puts the time of modification at `time`.
///
/// # Safety
///
/// See [`super`].
#[no_mangle]
pub unsafe extern "C" fn lcfs_node_get_mtime(this: *mut Node, time: *mut libc::timespec) {
    // SAFETY: See the contract.
    let Time { sec, nsec } = unsafe { stat(this) }.mtime();
    // SAFETY: The caller gives the place, all of which is written to.
    unsafe {
        (*time).tv_sec = sec;
        (*time).tv_nsec = nsec.into();
    }
}

/// Sets the time of modification.
///
/// # Safety
///
/// See [`super`].
#[no_mangle]
pub unsafe extern "C" fn lcfs_node_set_mtime(this: *mut Node, time: *const libc::timespec) {
    // SAFETY: See the contract.
    let (sec, nsec) = unsafe { ((*time).tv_sec, (*time).tv_nsec as u32) };
    let set = |stat: &mut Stat| (stat.mtime_sec, stat.mtime_nsec) = (sec, nsec);
    // SAFETY: See the contract.
    unsafe { change(this, set) };
}

/// The target of a symlink, or the path of a file's object; null if there is none.
///
/// # Safety
///
/// See [`super`].
#[no_mangle]
pub unsafe extern "C" fn lcfs_node_get_payload(this: *mut Node) -> *const c_char {
    // SAFETY: See the contract.
    guard(std::ptr::null(), || unsafe { node(this) }.payload(address))
}

/// Sets the path of a file's object, or takes it away if it is null.
///
/// # Safety
///
/// See [`super`].
#[no_mangle]
pub unsafe extern "C" fn lcfs_node_set_payload(this: *mut Node, payload: *const c_char) -> c_int {
    // SAFETY: See the contract.
    status(|| unsafe { node(this).set_payload(string(payload)) })
}

/// Sets the target of a symlink, and its size.
///
/// # Safety
///
/// See [`super`].
#[no_mangle]
pub unsafe extern "C" fn lcfs_node_set_symlink_payload(
    this: *mut Node,
    payload: *const c_char,
) -> c_int {
    // SAFETY: See the contract.
    status(|| unsafe { node(this).set_target(string(payload)) })
}

/// The content that the image is to hold; null if there is none.
///
/// # Safety
///
/// See [`super`].
#[no_mangle]
pub unsafe extern "C" fn lcfs_node_get_content(this: *mut Node) -> *const u8 {
    let start = |content: Option<&[u8]>| content.map_or(std::ptr::null(), <[u8]>::as_ptr);
    // SAFETY: See the contract.
    guard(std::ptr::null(), || unsafe { node(this) }.content(start))
}

/// Sets the content that the image is to hold, and the size. `data` may be null.
///
/// # Safety
///
/// See [`super`].
#[no_mangle]
pub unsafe extern "C" fn lcfs_node_set_content(
    this: *mut Node,
    data: *const u8,
    size: usize,
) -> c_int {
    status(|| {
        // SAFETY: See the contract.
        let this = unsafe { node(this) };
        if data.is_null() {
            this.set_no_content(size as u64);
            return Ok(());
        }
        // SAFETY: See the contract.
        this.set_content(unsafe { bytes(data, size) })
    })
}

/// The fs-verity digest, 32 bytes; null if there is none.
///
/// # Safety
///
/// See [`super`].
#[no_mangle]
pub unsafe extern "C" fn lcfs_node_get_fsverity_digest(this: *mut Node) -> *const u8 {
    let start = |digest: Option<&Bytes>| digest.map_or(std::ptr::null(), |digest| digest.as_ptr());
    // SAFETY: See the contract.
    guard(std::ptr::null(), || unsafe { node(this) }.digest(start))
}

/// Sets the fs-verity digest.
///
/// # Safety
///
/// See [`super`]; `digest` has 32 bytes.
#[no_mangle]
pub unsafe extern "C" fn lcfs_node_set_fsverity_digest(this: *mut Node, digest: *const u8) {
    guard((), || {
        // SAFETY: See the contract.
        let (this, digest) = unsafe { (node(this), bytes(digest, 32)) };
        this.set_digest(digest.try_into().ok());
    });
}
