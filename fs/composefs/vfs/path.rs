// SPDX-License-Identifier: GPL-2.0-only

//! Directories of other file systems, and the files below them.
//!
//! C headers: [`include/linux/namei.h`](srctree/include/linux/namei.h),
//! [`include/linux/mount.h`](srctree/include/linux/mount.h)

use super::{
    backing::BackingFile,
    bindings,
    buffer::{self, Buffer},
    credential,
    filesystem::FileSystem,
    frozen_file::FrozenFile,
    stacking::{Registered, StackDepth},
};
use core::{marker::PhantomData, ptr::NonNull};
use kernel::{
    cred::Credential,
    error::{from_err_ptr, to_result},
    fs::LocalFile,
    prelude::*,
    str::CString,
    sync::aref::ARef,
};

/// A path that holds references to its mount and dentry.
///
/// # Invariants
///
/// `0` is valid, positive, and comes with the references.
struct OwnedPath(bindings::path);

// SAFETY: Mounts and dentries may be used from any task.
unsafe impl Send for OwnedPath {}

impl OwnedPath {
    fn file_type(&self) -> u32 {
        // SAFETY: By the type invariant.
        u32::from(unsafe { bindings::rust_vfs_path_mode(&self.0) }) & bindings::S_IFMT
    }
}

impl Drop for OwnedPath {
    fn drop(&mut self) {
        // SAFETY: By the type invariant there are references to give back.
        unsafe { bindings::path_put(&self.0) };
    }
}

/// The path of an open file, as the current task sees it.
///
/// # Errors
///
/// [`ENAMETOOLONG`] if it is longer than `PATH_MAX`, [`ENOMEM`].
///
/// [`ENAMETOOLONG`]: super::error::ENAMETOOLONG
pub(crate) fn shown(file: &LocalFile) -> Result<CString> {
    let mut buffer = Buffer::zeroed(bindings::PATH_MAX as usize)?;

    // SAFETY: The file is alive, and the buffer has the size that is given. The result is an error
    // or a NUL-terminated string in it.
    let path = unsafe {
        let path = from_err_ptr(bindings::file_path(
            file.as_ptr(),
            buffer.as_mut_ptr().cast(),
            buffer.len() as c_int,
        ))?;
        buffer::c_str(path)
    };
    Ok(CString::try_from(path)?)
}

/// A directory that someone named.
pub(crate) struct Directory(OwnedPath);

impl Directory {
    /// The directory that `path` names for the current task.
    ///
    /// # Errors
    ///
    /// Those of looking the path up.
    pub(crate) fn lookup(path: &CStr) -> Result<Self> {
        // SAFETY: `owned` is written to, and read only if that succeeded.
        let path = unsafe {
            let mut owned = pin_init::zeroed();
            to_result(bindings::rust_vfs_lookup_directory(
                path.as_char_ptr(),
                &mut owned,
            ))?;
            owned
        };
        // INVARIANT: The lookup gave references, and found something.
        Ok(Self(OwnedPath(path)))
    }

    /// The directory that is open as `file`.
    ///
    /// # Errors
    ///
    /// [`ENOTDIR`] if it is not a directory.
    pub(crate) fn from_file(file: &LocalFile) -> Result<Self> {
        // SAFETY: The file is open, so its path is valid and positive.
        let path = unsafe {
            let mut path = pin_init::zeroed();
            bindings::rust_vfs_path_of_file(file.as_ptr(), &mut path);
            bindings::path_get(&path);
            path
        };
        // INVARIANT: The references were just taken.
        let path = OwnedPath(path);
        if path.file_type() != bindings::S_IFDIR {
            return Err(ENOTDIR);
        }
        Ok(Self(path))
    }

    /// The depth of a file system of type `T` that stands on it.
    ///
    /// # Errors
    ///
    /// [`EINVAL`] if it is more than the kernel allows.
    pub(crate) fn stack_depth<T: FileSystem>(
        &self,
        registered: Registered<T>,
    ) -> Result<StackDepth> {
        // SAFETY: The path is valid and positive, so its inode is live.
        unsafe { registered.depth_on((*self.0 .0.dentry).d_inode) }
    }
}

/// Directories, seen through mounts of their own: what is mounted or unmounted elsewhere does not
/// change what is below them, and nothing is written.
///
/// # Invariants
///
/// Each of `mounts` is a private clone of a mount whose root is the directory, and that of `files`
/// at the same place is the directory, opened through it with `O_PATH`. References to all of them
/// are owned.
pub(crate) struct PrivateDirectories {
    mounts: KVVec<*mut bindings::vfsmount>,
    files: KVVec<NonNull<bindings::file>>,
}

// SAFETY: Mounts and files may be used from any task.
unsafe impl Send for PrivateDirectories {}

// SAFETY: As for `Send`.
unsafe impl Sync for PrivateDirectories {}

impl PrivateDirectories {
    /// Room for `count` directories.
    pub(crate) fn with_capacity(count: usize) -> Result<Self> {
        Ok(Self {
            mounts: KVVec::with_capacity(count, GFP_KERNEL_ACCOUNT)?,
            files: KVVec::with_capacity(count, GFP_KERNEL_ACCOUNT)?,
        })
    }

    /// Adds a directory behind the others.
    ///
    /// # Errors
    ///
    /// [`EPERM`] or [`EINVAL`] if the current task may not mount what is there elsewhere;
    /// [`ENOMEM`], also if there is no more room.
    pub(crate) fn push(&mut self, directory: &Directory) -> Result {
        // SAFETY: The path is valid.
        let mount = unsafe { bindings::rust_vfs_clone_private_mount(&directory.0 .0) };
        let mut mount = from_err_ptr(mount)?;

        // `O_PATH` because the backing files that are opened in the name of this file shall raise
        // no fsnotify events, as it does not: an open that serves everyone is nobody's access, and
        // a fanotify listener must not have to permit what it opened itself. (Before 7.3, backing
        // files raise events nevertheless, those of overlayfs as well.)
        // SAFETY: The mount is live, and holds its root; the credentials are those of the current
        // task.
        let file = from_err_ptr(unsafe {
            let root = bindings::path {
                mnt: mount,
                dentry: (*mount).mnt_root,
            };
            bindings::dentry_open(
                &root,
                (bindings::O_PATH | bindings::O_DIRECTORY) as c_int,
                credential::current().as_ptr(),
            )
        })
        .and_then(|file| NonNull::new(file).ok_or(ENOENT));

        match file {
            // Where there is room for the file, the mount is not added without it.
            // INVARIANT: Both were just made, from the same directory.
            Ok(file)
                if self.files.len() < self.files.capacity()
                    && self.mounts.push_within_capacity(mount).is_ok()
                    && self.files.push_within_capacity(file).is_ok() =>
            {
                Ok(())
            }
            file => {
                // SAFETY: The references are those that were just made.
                unsafe {
                    if let Ok(file) = file {
                        bindings::fput(file.as_ptr());
                    }
                    bindings::kern_unmount_array(&mut mount, 1);
                }
                Err(file.err().unwrap_or(ENOMEM))
            }
        }
    }

    /// The directories in the order in which they were added.
    pub(crate) fn iter(&self) -> impl Iterator<Item = PrivateDirectory<'_>> {
        self.mounts
            .iter()
            .zip(&self.files)
            .map(|(&mount, &file)| PrivateDirectory {
                mount,
                file,
                _owner: PhantomData,
            })
    }
}

impl Drop for PrivateDirectories {
    fn drop(&mut self) {
        for file in &self.files {
            // SAFETY: By the type invariant there is a reference to give back.
            unsafe { bindings::fput(file.as_ptr()) };
        }
        if self.mounts.is_empty() {
            return;
        }
        // SAFETY: By the type invariant there are references to give back. Files that were opened
        // below hold references of their own.
        unsafe {
            bindings::kern_unmount_array(self.mounts.as_mut_ptr(), self.mounts.len() as c_uint);
        }
    }
}

/// One of [`PrivateDirectories`].
///
/// # Invariants
///
/// `mount` and `file` are as they are there.
pub(crate) struct PrivateDirectory<'a> {
    mount: *mut bindings::vfsmount,
    file: NonNull<bindings::file>,
    _owner: PhantomData<&'a PrivateDirectories>,
}

impl PrivateDirectory<'_> {
    /// Opens the regular file `name`, a path below the directory, as `credential` may. Leading
    /// slashes do not matter.
    ///
    /// # Errors
    ///
    /// Those of looking the name up, [`ELOOP`] at a symlink among them and [`EXDEV`] where `..`
    /// leads out; [`EINVAL`] if it is no regular file; those of opening it.
    pub(crate) fn open_file(
        &self,
        name: &CStr,
        credential: &Credential,
    ) -> Result<ARef<BackingFile>> {
        let path = credential::scoped(credential, || {
            // SAFETY: The mount is live; `owned` is written to, and read only if that succeeded.
            let path = unsafe {
                let mut owned = pin_init::zeroed();
                to_result(bindings::rust_vfs_lookup_beneath(
                    self.mount,
                    name.as_char_ptr(),
                    &mut owned,
                ))?;
                owned
            };
            // INVARIANT: The lookup gave references, and found something.
            let path = OwnedPath(path);
            if path.file_type() != bindings::S_IFREG {
                return Err(EINVAL);
            }
            // SAFETY: The path is valid and positive.
            to_result(unsafe { bindings::rust_vfs_permission_to_read(&path.0) })?;
            Ok(path)
        })?;

        // SAFETY: The directory is open, and the path valid and of a regular file.
        unsafe { BackingFile::open(self.file.as_ptr(), &path.0, credential) }
    }

    /// Whether it is certain that no file below it can have fs-verity. That `other` has it may
    /// spare asking.
    pub(crate) fn lacks_verity<T: FileSystem>(
        &self,
        other: &FrozenFile<T>,
        registered: Registered<T>,
    ) -> bool {
        // SAFETY: The mount is live, and holds its root, which is positive.
        unsafe {
            let path = bindings::path {
                mnt: self.mount,
                dentry: (*self.mount).mnt_root,
            };
            match registered.super_block_of((*path.dentry).d_inode) {
                Some(sb) => T::lacks_verity(sb),
                None => bindings::rust_vfs_lacks_verity(&path, other.verity_super_block()),
            }
        }
    }
}
