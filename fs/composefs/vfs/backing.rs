// SPDX-License-Identifier: GPL-2.0-only

//! Backing files: files of other file systems that hold the content of ours.
//!
//! C header: [`include/linux/backing-file.h`](srctree/include/linux/backing-file.h)

use super::{bindings, credential, filesystem::FileSystem, inode::Inode};
use core::ptr::NonNull;
use kernel::{
    cred::Credential,
    error::from_err_ptr,
    prelude::*,
    sync::{
        aref::{ARef, AlwaysRefCounted},
        atomic::{ordering, Atomic},
    },
    types::Opaque,
};

/// What a file system provides some of whose inodes have a backing file.
pub(crate) trait Operations: FileSystem {
    /// The backing file of an inode, if it has one and it was opened.
    fn opened(inode: &Inode<Self>) -> Option<&BackingFile>;

    /// The backing file of an inode, opened if it was not yet; `None` if it has none. Errors are
    /// for the log only.
    fn find(inode: &Inode<Self>) -> Result<Option<&BackingFile>>;
}

/// A regular file of another file system that can be read and mapped.
///
/// # Invariants
///
/// A file that `backing_file_open()` made, of a regular file, open for reading; or one that
/// [`BackingFile::borrow_for`] made from such a file, which is open for as long as this lives.
#[repr(transparent)]
pub(crate) struct BackingFile(Opaque<bindings::file>);

// SAFETY: A `struct file` may be used from any task; its position, the only thing with a rule about
// that, is not used.
unsafe impl Send for BackingFile {}

// SAFETY: As for `Send`.
unsafe impl Sync for BackingFile {}

// SAFETY: The reference count of a file is atomic, and keeps it alive.
unsafe impl AlwaysRefCounted for BackingFile {
    fn inc_ref(&self) {
        // SAFETY: A reference to `self` shows that the count is not zero.
        unsafe { bindings::get_file(self.as_ptr()) };
    }

    /// # Safety
    ///
    /// As the trait says: `obj` is live, and the caller's reference is not used any more.
    unsafe fn dec_ref(obj: NonNull<Self>) {
        // SAFETY: The caller gives back a reference that it owns.
        unsafe { bindings::fput(obj.cast().as_ptr()) };
    }
}

impl BackingFile {
    /// Opens the file at `path` with `credential`, which is also in force meanwhile: security
    /// modules label a file by who opens it.
    ///
    /// `user` is the file that `/proc` and security modules are to see in place of this one; its
    /// path is held until the backing file is closed.
    ///
    /// # Safety
    ///
    /// `user` must be an open file, and `path` valid and of a regular file.
    pub(super) unsafe fn open(
        user: *const bindings::file,
        path: &bindings::path,
        credential: &Credential,
    ) -> Result<ARef<Self>> {
        // Its mount has no access times either, but a file is asked first.
        let flags = (bindings::O_RDONLY | bindings::O_LARGEFILE | bindings::O_NOATIME) as c_int;

        // SAFETY: See the contract of this function.
        let exec = unsafe { (*user).f_flags } as c_int & bindings::RUST_VFS_O_EXEC;

        // SAFETY: See the contract of this function; the credential is alive.
        let file = from_err_ptr(credential::scoped(credential, || unsafe {
            bindings::backing_file_open(user, flags | exec, path, credential.as_ptr())
        }))?;
        let file = NonNull::new(file).ok_or(ENOENT)?;

        // SAFETY: The reference is the one that was just made.
        // INVARIANT: See the contract of this function.
        Ok(unsafe { ARef::from_raw(file.cast()) })
    }

    /// A file with the content of this one and the path of `user`, for a mapping. Nothing is
    /// opened, and nothing but memory waited for.
    ///
    /// # Safety
    ///
    /// `user` must be an open file for which `rust_vfs_adopt_backing_file()` has said that it needs
    /// none of its own, and of an inode that holds `self` for as long as it lives.
    pub(super) unsafe fn borrow_for(
        &self,
        user: *const bindings::file,
        credential: &Credential,
    ) -> Result<ARef<Self>> {
        // SAFETY: See the contract of this function; the credential is alive.
        let file = from_err_ptr(credential::scoped(credential, || unsafe {
            bindings::rust_vfs_borrow_backing_file(user, self.as_ptr(), credential.as_ptr())
        }))?;
        let file = NonNull::new(file).ok_or(ENOMEM)?;

        // SAFETY: The reference is the one that was just made.
        // INVARIANT: The new file holds the path of `user`, the path its inode, and the inode
        // `self`.
        Ok(unsafe { ARef::from_raw(file.cast()) })
    }

    pub(super) fn as_ptr(&self) -> *mut bindings::file {
        self.0.get()
    }

    /// Whether this file itself was opened.
    pub(super) fn is_open(&self) -> bool {
        // SAFETY: The file is live, and this bit does not change any more.
        unsafe { (*self.as_ptr()).f_mode & bindings::RUST_VFS_FMODE_OPENED != 0 }
    }

    /// Its size in bytes.
    pub(crate) fn size(&self) -> u64 {
        // SAFETY: The file is open.
        unsafe { bindings::rust_vfs_file_size(self.as_ptr()) }
    }
}

/// A place for a backing file that is filled at most once. It has the layout of a pointer, with
/// null for an empty one.
///
/// # Invariants
///
/// The pointer is null, or of a [`BackingFile`] to which the slot owns a reference. Once it is not
/// null it does not change.
#[repr(transparent)]
pub(crate) struct BackingSlot(Atomic<*mut BackingFile>);

impl BackingSlot {
    /// An empty slot.
    pub(crate) const fn new() -> Self {
        Self(Atomic::new(core::ptr::null_mut()))
    }

    /// The backing file, if there is one already.
    pub(crate) fn get(&self) -> Option<&BackingFile> {
        // Pairs with the release in `publish()`.
        let file = NonNull::new(self.0.load(ordering::Acquire))?;

        // SAFETY: By the type invariant it is alive for as long as the slot.
        Some(unsafe { file.as_ref() })
    }

    /// Fills the slot unless another task was first. Returns what is in it, and whether that is
    /// `file`.
    pub(crate) fn publish(&self, file: ARef<BackingFile>) -> (&BackingFile, bool) {
        let ours = ARef::into_raw(file);

        // INVARIANT: The slot takes over the reference of `file`.
        let theirs = self
            .0
            .cmpxchg(core::ptr::null_mut(), ours.as_ptr(), ordering::Full)
            .err()
            .and_then(NonNull::new);
        let winner = match theirs {
            None => ours,
            Some(theirs) => {
                // SAFETY: The slot did not take over the reference.
                drop(unsafe { ARef::from_raw(ours) });
                theirs
            }
        };
        // SAFETY: By the type invariant it is alive for as long as the slot.
        (unsafe { winner.as_ref() }, theirs.is_none())
    }
}

impl Drop for BackingSlot {
    fn drop(&mut self) {
        if let Some(file) = NonNull::new(*self.0.get_mut()) {
            // SAFETY: By the type invariant there is a reference to give back.
            drop(unsafe { ARef::from_raw(file) });
        }
    }
}
