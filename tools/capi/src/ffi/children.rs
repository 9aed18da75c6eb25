// SPDX-License-Identifier: GPL-2.0-only
//! How nodes hang together.

use std::collections::HashMap;
use std::ffi::{c_char, c_int};
use std::mem::ManuallyDrop;
use std::rc::Rc;

use rustix::io::Errno;

use super::{address, borrowed, guard, new_node, node, status, string};
use crate::node::Node;

/// The name, in its parent; null if it has none.
///
/// # Safety
///
/// See [`super`].
#[no_mangle]
pub unsafe extern "C" fn lcfs_node_get_name(this: *mut Node) -> *const c_char {
    // SAFETY: See the contract.
    guard(std::ptr::null(), || unsafe { node(this) }.name(address))
}

/// The parent; null if it has none.
///
/// # Safety
///
/// See [`super`].
#[no_mangle]
pub unsafe extern "C" fn lcfs_node_get_parent(this: *mut Node) -> *mut Node {
    guard(std::ptr::null_mut(), || {
        // SAFETY: See the contract.
        borrowed(unsafe { node(this) }.parent())
    })
}

/// How many children it has.
///
/// # Safety
///
/// See [`super`].
#[no_mangle]
pub unsafe extern "C" fn lcfs_node_get_n_children(this: *mut Node) -> usize {
    // SAFETY: See the contract.
    guard(0, || unsafe { node(this) }.child_count())
}

/// A child by its number, in the order of the names; null if there are not so many.
///
/// # Safety
///
/// See [`super`].
#[no_mangle]
pub unsafe extern "C" fn lcfs_node_get_child(this: *mut Node, index: usize) -> *mut Node {
    guard(std::ptr::null_mut(), || {
        // SAFETY: See the contract.
        borrowed(unsafe { node(this) }.child(index))
    })
}

/// The child of this name; null if there is none.
///
/// # Safety
///
/// See [`super`].
#[no_mangle]
pub unsafe extern "C" fn lcfs_node_lookup_child(this: *mut Node, name: *const c_char) -> *mut Node {
    guard(std::ptr::null_mut(), || {
        // SAFETY: See the contract.
        let (this, name) = unsafe { (node(this), string(name)) };
        borrowed(name.and_then(|name| this.lookup(name)))
    })
}

/// Makes `child` a child of `parent`, which gets the caller's reference to it if that succeeds.
///
/// # Safety
///
/// See [`super`]; the reference must be the caller's.
#[no_mangle]
pub unsafe extern "C" fn lcfs_node_add_child(
    parent: *mut Node,
    child: *mut Node,
    name: *const c_char,
) -> c_int {
    status(|| {
        // SAFETY: See the contract.
        let (parent, child, name) = unsafe { (node(parent), node(child), string(name)) };
        parent.add(Rc::clone(&child), name.ok_or(Errno::INVAL)?)?;
        // Its own reference takes the place of the caller's.
        drop(ManuallyDrop::into_inner(child));
        Ok(())
    })
}

/// Makes `this` another name of `target`.
///
/// # Safety
///
/// See [`super`].
#[no_mangle]
pub unsafe extern "C" fn lcfs_node_make_hardlink(this: *mut Node, target: *mut Node) {
    guard((), || {
        // SAFETY: See the contract.
        let (this, target) = unsafe { (node(this), node(target)) };
        // What it was a link to before may have had the last reference to it.
        Rc::clone(&this).set_link(&target);
    });
}

/// What `this` is another name of; null if it is none.
///
/// # Safety
///
/// See [`super`].
#[no_mangle]
pub unsafe extern "C" fn lcfs_node_get_hardlink_target(this: *mut Node) -> *mut Node {
    guard(std::ptr::null_mut(), || {
        // SAFETY: See the contract.
        borrowed(unsafe { node(this) }.link())
    })
}

/// A copy of `this` and of all that is below it. Links among that are links among the copies.
///
/// # Safety
///
/// See [`super`].
#[no_mangle]
pub unsafe extern "C" fn lcfs_node_clone_deep(this: *mut Node) -> *mut Node {
    // SAFETY: See the contract.
    new_node(|| unsafe { copy_tree(&node(this)) })
}

fn copy_tree(root: &Rc<Node>) -> Result<Rc<Node>, Errno> {
    let mut copies = HashMap::new();
    let copied = root.copy();
    copies.insert(Rc::as_ptr(root), Rc::clone(&copied));
    let mut left = vec![(Rc::clone(root), Rc::clone(&copied))];
    while let Some((from, to)) = left.pop() {
        for index in 0..from.child_count() {
            let child = from.child(index).ok_or(Errno::INVAL)?;
            let copy = child.copy();
            let name = child.name(|name| name.map(ToOwned::to_owned));
            to.add(Rc::clone(&copy), &name.ok_or(Errno::INVAL)?)?;
            copies.insert(Rc::as_ptr(&child), Rc::clone(&copy));
            left.push((child, copy));
        }
    }
    for copy in copies.values() {
        let target = copy
            .link()
            .and_then(|target| copies.get(&Rc::as_ptr(&target)));
        if let Some(target) = target {
            copy.set_found_link(target);
        }
    }
    Ok(copied)
}
