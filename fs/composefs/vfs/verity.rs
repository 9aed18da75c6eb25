// SPDX-License-Identifier: GPL-2.0-only

//! What fs-verity says about a file.
//!
//! It checks the content of our files where that is read: as an object's. They need no information
//! of their own for that, and have none, but where IMA's policy has a rule for the file: it asks
//! for the digest of the very inode that is open, not of the one with the content, as IPE does.
//! Then they have the object's.
//!
//! C header: [`include/linux/fsverity.h`](srctree/include/linux/fsverity.h)

use super::{
    backing::{BackingFile, Operations},
    bindings,
    error::ENODATA,
    inode::Inode,
    stacking::Registered,
};
use core::marker::PhantomData;
use kernel::{error::from_result, prelude::*};

/// The fs-verity digest of a file.
pub(crate) struct Digest {
    /// `FS_VERITY_HASH_ALG_*`.
    pub(crate) algorithm: u8,
    bytes: [u8; bindings::FS_VERITY_MAX_DIGEST_SIZE as usize],
    len: usize,
}

impl Digest {
    /// The digest itself.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

/// The digest of what is read from an open file, if it has fs-verity.
///
/// From then on every byte that is read from the file is checked against it by the file system that
/// has it, and it cannot be written to.
///
/// # Safety
///
/// `file` must be open.
pub(super) unsafe fn digest<T: Operations>(
    file: *mut bindings::file,
    registered: Registered<T>,
) -> Option<Digest> {
    let mut digest = Digest {
        algorithm: 0,
        bytes: [0; bindings::FS_VERITY_MAX_DIGEST_SIZE as usize],
        len: 0,
    };
    // SAFETY: The file is open, as the one that has its content is. The inode of that is live, and
    // has loaded its fs-verity information when it was opened. The buffer is of the size that the
    // function asks for.
    let len = unsafe {
        bindings::fsverity_get_digest(
            bindings::rust_vfs_file_inode(innermost(registered, file)),
            digest.bytes.as_mut_ptr(),
            &mut digest.algorithm,
            core::ptr::null_mut(),
        )
    };
    digest.len = usize::try_from(len).ok().filter(|&len| len > 0)?;
    Some(digest)
}

/// The file that has what is read from an open file: that itself, or if it is one of a mount of
/// type `T`, its backing file. For as long as the first is open, so is this one, and it is the
/// same.
///
/// # Safety
///
/// `file` must be open.
pub(super) unsafe fn innermost<T: Operations>(
    registered: Registered<T>,
    file: *mut bindings::file,
) -> *mut bindings::file {
    let mut file = file;
    // As many rounds as mounts of type `T` stand on one another.
    loop {
        // SAFETY: The file is open, and so has a live inode.
        let backing = unsafe {
            let inode = bindings::rust_vfs_file_inode(file);
            // By the type invariant the inode is then one of type `T`. The open file has a
            // reference to it, which keeps its backing file open.
            bindings::rust_vfs_is_on(inode, registered.as_ptr())
                .then(|| T::opened(Inode::<T>::from_raw(inode)))
                .flatten()
        };
        match backing {
            Some(backing) => file = backing.as_ptr(),
            None => return file,
        }
    }
}

impl BackingFile {
    /// The fs-verity digest of what is read from it, if there is one.
    pub(crate) fn verity_digest<T: Operations>(&self, registered: Registered<T>) -> Option<Digest> {
        // SAFETY: The file is open.
        unsafe { digest(self.as_ptr(), registered) }
    }
}

/// The `s_vop` of a superblock of type `T`.
pub(super) fn table<T: Operations>() -> *const kernel::bindings::fsverity_operations {
    core::ptr::from_ref(&Tables::<T>::TABLE).cast()
}

/// The C entry points for the fs-verity information of inodes of file system type `T`.
struct Tables<T>(PhantomData<T>);

impl<T: Operations> Tables<T> {
    /// There is no Merkle tree to be had, as nothing is checked here.
    const TABLE: bindings::fsverity_operations = {
        // SAFETY: All-zeroes is a valid value of the type: no operation.
        let mut table: bindings::fsverity_operations = unsafe { core::mem::zeroed() };
        table.get_verity_descriptor = Some(Self::descriptor);
        table
    };

    /// What the digest is made from: that of the object, as the content is one.
    ///
    /// # Safety
    ///
    /// `inode` is of type `T` and referenced. `buf` has `size` bytes, or is not looked at if that
    /// is 0.
    unsafe extern "C" fn descriptor(
        inode: *mut bindings::inode,
        buf: *mut c_void,
        size: usize,
    ) -> c_int {
        from_result(|| {
            // SAFETY: The caller holds a reference to the inode.
            let inode = unsafe { Inode::<T>::from_raw(inode) };
            let file = T::opened(inode).ok_or(ENODATA)?;

            // SAFETY: The backing file is open; the buffer is the caller's.
            Ok(unsafe { bindings::rust_vfs_verity_descriptor(file.as_ptr(), buf, size) })
        })
    }
}
