// SPDX-License-Identifier: GPL-2.0-only

//! Directories of other file systems, and the files below them.
//!
//! C headers: [`include/linux/namei.h`](srctree/include/linux/namei.h),
//! [`include/linux/mount.h`](srctree/include/linux/mount.h)

use super::{backing::BackingFile, bindings, context::FileRef, credential::Credential};
use core::ptr::NonNull;
use kernel::{
    error::{from_err_ptr, to_result},
    prelude::*,
    sync::aref::ARef,
};

/// A path that holds references to its mount and dentry.
///
/// # Invariants
///
/// `0` is valid, positive, and comes with the references.
struct OwnedPath(bindings::path);

impl Drop for OwnedPath {
    fn drop(&mut self) {
        // SAFETY: By the type invariant there are references to give back.
        unsafe { bindings::path_put(&self.0) };
    }
}

/// A directory, seen through a mount of its own: what is mounted or unmounted
/// elsewhere does not change what is below it.
///
/// # Invariants
///
/// `mount` is a private clone of a mount whose root is the directory, and
/// `file` that directory, opened through it. References to both are owned.
pub(crate) struct PrivateDirectory {
    mount: NonNull<bindings::vfsmount>,
    file: NonNull<bindings::file>,
}

// SAFETY: Mounts and files may be used from any task.
unsafe impl Send for PrivateDirectory {}

// SAFETY: As for `Send`.
unsafe impl Sync for PrivateDirectory {}

impl PrivateDirectory {
    /// The directory that `path` names for the current task.
    ///
    /// # Errors
    ///
    /// Those of looking the path up; [`EPERM`] or [`EINVAL`] if the current
    /// task may not mount what is there elsewhere.
    pub(crate) fn open(path: &CStr) -> Result<Self> {
        // SAFETY: `path` is written to, and read only if that succeeded.
        let path = OwnedPath(unsafe {
            let mut owned = core::mem::zeroed();
            to_result(bindings::rust_vfs_lookup_directory(
                path.as_char_ptr(),
                &mut owned,
            ))?;
            owned
        });
        Self::new(&path.0)
    }

    /// The directory that is open as `file`.
    ///
    /// # Errors
    ///
    /// As for [`PrivateDirectory::open`]; [`ENOTDIR`] if it is none.
    pub(crate) fn from_file(file: FileRef<'_>) -> Result<Self> {
        // SAFETY: The file is open, and its path valid while it is.
        let path = unsafe {
            let mut path = core::mem::zeroed();
            bindings::rust_vfs_path_of_file(file.as_ptr(), &mut path);
            path
        };
        // SAFETY: The path of an open file is positive.
        let mode = unsafe { bindings::rust_vfs_path_mode(&path) };
        if u32::from(mode) & bindings::S_IFMT != bindings::S_IFDIR {
            return Err(ENOTDIR);
        }
        Self::new(&path)
    }

    fn new(path: &bindings::path) -> Result<Self> {
        // SAFETY: The path is valid.
        let mount = from_err_ptr(unsafe { bindings::clone_private_mount(path) })?;
        let mount = NonNull::new(mount).ok_or(EINVAL)?;

        // SAFETY: The mount is live, and holds its root; the credentials are
        // those of the current task.
        let file = from_err_ptr(unsafe {
            let root = bindings::path {
                mnt: mount.as_ptr(),
                dentry: (*mount.as_ptr()).mnt_root,
            };
            bindings::dentry_open(
                &root,
                (bindings::O_RDONLY | bindings::O_DIRECTORY) as c_int,
                Credential::current().as_ptr(),
            )
        });
        match file.and_then(|file| NonNull::new(file).ok_or(ENOENT)) {
            // INVARIANT: Both were just made, from the same directory.
            Ok(file) => Ok(Self { mount, file }),
            Err(error) => {
                let mut mount = mount.as_ptr();
                // SAFETY: The reference is the one that was just made.
                unsafe { bindings::kern_unmount_array(&mut mount, 1) };
                Err(error)
            }
        }
    }

    /// How many file systems are stacked in the one that it is on.
    pub(crate) fn stack_depth(&self) -> u32 {
        // SAFETY: The file is open, so its superblock is live.
        unsafe { bindings::rust_vfs_file_stack_depth(self.file.as_ptr()) }
    }

    /// Opens the regular file `name`, a path below the directory, as
    /// `credential` may. Leading slashes do not matter.
    ///
    /// # Errors
    ///
    /// Those of looking the name up, [`ELOOP`] at a symlink among them and
    /// [`EXDEV`] where `..` leads out; [`EINVAL`] if it is no regular file;
    /// those of opening it.
    pub(crate) fn open_file(
        &self,
        name: &CStr,
        credential: &Credential,
    ) -> Result<ARef<BackingFile>> {
        credential.scoped(|| {
            // SAFETY: The mount is live; `path` is written to, and read only
            // if that succeeded.
            let path = OwnedPath(unsafe {
                let mut owned = core::mem::zeroed();
                to_result(bindings::rust_vfs_lookup_beneath(
                    self.mount.as_ptr(),
                    name.as_char_ptr(),
                    &mut owned,
                ))?;
                owned
            });
            // SAFETY: The path is valid and positive.
            unsafe {
                let mode = bindings::rust_vfs_path_mode(&path.0);
                if u32::from(mode) & bindings::S_IFMT != bindings::S_IFREG {
                    return Err(EINVAL);
                }
                to_result(bindings::rust_vfs_permission_to_read(&path.0))?;
            }
            // SAFETY: The directory is open, and the path valid and of a
            // regular file.
            unsafe { BackingFile::open(self.file.as_ptr(), &path.0, credential) }
        })
    }
}

impl Drop for PrivateDirectory {
    fn drop(&mut self) {
        let mut mount = self.mount.as_ptr();

        // SAFETY: By the type invariant there are references to give back.
        // Files that were opened below hold references of their own.
        unsafe {
            bindings::fput(self.file.as_ptr());
            bindings::kern_unmount_array(&mut mount, 1);
        }
    }
}
