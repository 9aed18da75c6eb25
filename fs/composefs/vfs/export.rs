// SPDX-License-Identifier: GPL-2.0-only

//! File handles, for `open_by_handle_at(2)` and NFS.
//!
//! A handle is the number of an inode, and that of a directory it is in if that is asked for, in
//! the kernel's `FILEID_INO64_GEN` layouts: 32-bit words with the high half of a number first, and
//! a generation, which is always 0 because numbers are not used again.
//!
//! Whoever decodes one may have made it up: an NFS client, for one. So there is a rule for the
//! cache of inodes: only those are in it that a path leads to.
//!
//! C header: [`include/linux/exportfs.h`](srctree/include/linux/exportfs.h)

use super::{
    bindings,
    error::ESTALE,
    inode::{self, Inode, InodeRef},
    superblock::SuperBlock,
};
use core::{marker::PhantomData, slice};
use kernel::prelude::*;

const WITHOUT_PARENT: c_int = bindings::fid_type_FILEID_INO64_GEN as c_int;
const WITH_PARENT: c_int = bindings::fid_type_FILEID_INO64_GEN_PARENT as c_int;
const INVALID: c_int = bindings::fid_type_FILEID_INVALID as c_int;

/// The number of words that stand for one inode.
const WORDS: usize = 3;

/// What a file system provides whose files have handles.
pub(crate) trait Operations: inode::Operations {
    /// The number of the directory that `dir` is in.
    fn parent(dir: &Inode<Self>) -> Result<u64>;

    /// Whether a path leads from the root to the inode with number `ino`. Asked before one is read
    /// for a file handle, which anybody can make up.
    fn is_named(sb: &SuperBlock<Self>, ino: u64) -> Result<bool>;
}

/// The `s_export_op` of a superblock of type `T`.
pub(super) fn table<T: Operations>() -> *const kernel::bindings::export_operations {
    core::ptr::from_ref(&Tables::<T>::TABLE).cast()
}

/// The C entry points for the file handles of file system type `T`.
struct Tables<T>(PhantomData<T>);

impl<T: Operations> Tables<T> {
    const TABLE: bindings::export_operations = {
        // SAFETY: All-zeroes is a valid value of the type: no operation.
        let mut table: bindings::export_operations = unsafe { core::mem::zeroed() };
        table.encode_fh = Some(Self::encode);
        table.fh_to_dentry = Some(Self::decode);
        table.fh_to_parent = Some(Self::decode_parent);
        table.get_parent = Some(Self::parent);
        table
    };

    /// # Safety
    ///
    /// `inode` is of type `T`, as `parent` is unless it is null, and both are referenced. `handle`
    /// has room for `*max_len` words. No lock need be held.
    unsafe extern "C" fn encode(
        inode: *mut bindings::inode,
        handle: *mut u32,
        max_len: *mut c_int,
        parent: *mut bindings::inode,
    ) -> c_int {
        // SAFETY: The VFS holds references to the inodes, and gives a length to read and to set.
        let (inodes, len) = unsafe {
            let parent = (!parent.is_null()).then(|| Inode::<T>::from_raw(parent));
            ([Some(Inode::<T>::from_raw(inode)), parent], &mut *max_len)
        };
        let (kind, wanted) = match inodes {
            [_, Some(_)] => (WITH_PARENT, 2 * WORDS),
            _ => (WITHOUT_PARENT, WORDS),
        };
        let room = usize::try_from(*len).unwrap_or(0);
        *len = wanted as c_int;
        if room < wanted {
            return INVALID;
        }

        let halves = |inode: &Inode<T>| {
            let number = inode.number();
            [(number >> 32) as u32, number as u32, 0]
        };
        let words = inodes.into_iter().flatten().flat_map(halves);
        for (place, word) in words.take(wanted).enumerate() {
            // SAFETY: The buffer has room for `wanted` words.
            unsafe { handle.add(place).write(word) };
        }
        kind
    }

    /// # Safety
    ///
    /// `sb` is a mounted superblock of type `T`, and `handle` has `len` words. No lock is held.
    unsafe extern "C" fn decode(
        sb: *mut bindings::super_block,
        handle: *mut bindings::fid,
        len: c_int,
        kind: c_int,
    ) -> *mut bindings::dentry {
        let is_known = kind == WITHOUT_PARENT || kind == WITH_PARENT;

        // SAFETY: See the contract of this function.
        unsafe { Self::dentry(sb, handle, len, is_known.then_some(0)) }
    }

    /// # Safety
    ///
    /// As for `decode()`.
    unsafe extern "C" fn decode_parent(
        sb: *mut bindings::super_block,
        handle: *mut bindings::fid,
        len: c_int,
        kind: c_int,
    ) -> *mut bindings::dentry {
        // SAFETY: See the contract of this function.
        unsafe { Self::dentry(sb, handle, len, (kind == WITH_PARENT).then_some(1)) }
    }

    /// The inode with number `ino`, if a path leads to it.
    fn named(sb: &SuperBlock<T>, ino: u64) -> Result<InodeRef<T>> {
        match Inode::cached(sb, ino) {
            // As in `Inode::get()`, which this does without.
            Some(inode) => inode.check_usable().map(|()| inode),
            None if T::is_named(sb, ino)? => Inode::get(sb, ino),
            None => Err(ESTALE),
        }
    }

    /// A dentry of the inode that is at `place` in a handle.
    ///
    /// # Safety
    ///
    /// As for `decode()`.
    unsafe fn dentry(
        sb: *mut bindings::super_block,
        handle: *mut bindings::fid,
        len: c_int,
        place: Option<usize>,
    ) -> *mut bindings::dentry {
        // SAFETY: The handle has so many words.
        let words = unsafe {
            slice::from_raw_parts(handle.cast::<u32>(), usize::try_from(len).unwrap_or(0))
        };
        let words = place.and_then(|place| words.chunks_exact(WORDS).nth(place));
        let Some(&[high, low, 0]) = words else {
            // Not one of ours: the VFS makes it ESTALE.
            return core::ptr::null_mut();
        };
        let number = u64::from(high) << 32 | u64::from(low);

        // SAFETY: The superblock is mounted.
        let sb = unsafe { SuperBlock::<T>::from_raw(sb) };

        match T::check_usable(sb).and_then(|()| Self::named(sb, number)) {
            // What the VFS will ask for its parent.
            Ok(inode) if place == Some(1) && !inode.is_directory() => ESTALE.to_ptr(),
            // SAFETY: `d_obtain_alias()` consumes the reference to the inode.
            Ok(inode) => unsafe { bindings::d_obtain_alias(inode.into_raw()) },
            Err(error) => error.to_ptr(),
        }
    }

    /// # Safety
    ///
    /// `child` is a positive dentry of a directory of type `T`, and referenced. No lock is held.
    unsafe extern "C" fn parent(child: *mut bindings::dentry) -> *mut bindings::dentry {
        // SAFETY: The dentry is positive, and holds its inode.
        let child = unsafe { Inode::<T>::from_raw((*child).d_inode) };

        let parent = || {
            child.check_usable()?;
            Self::named(child.super_block(), T::parent(child)?)
        };
        match parent() {
            // SAFETY: `d_obtain_alias()` consumes the reference to the inode.
            Ok(inode) => unsafe { bindings::d_obtain_alias(inode.into_raw()) },
            Err(error) => error.to_ptr(),
        }
    }
}
