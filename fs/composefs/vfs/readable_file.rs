// SPDX-License-Identifier: GPL-2.0-only

//! Regular files that the kernel can read for itself.

use super::{
    backing, bindings,
    filesystem::FileSystem,
    named::NamedFile,
    regular_file::RegularFile,
    stacking::{Registered, StackDepth},
    verity,
};
use kernel::prelude::*;

/// A regular file that the kernel can read. Others may write to it.
///
/// # Invariants
///
/// The kernel can read the file.
pub(crate) struct ReadableFile<T: FileSystem> {
    file: RegularFile,
    registered: Registered<T>,
}

impl<T: FileSystem> ReadableFile<T> {
    /// Opens `file` with the credentials of the current task, if it is not open.
    ///
    /// # Errors
    ///
    /// Those of `open(2)`; [`EINVAL`] if it is not a regular file, or one that the kernel cannot
    /// read.
    pub(crate) fn open(file: &mut NamedFile, registered: Registered<T>) -> Result<Self> {
        let file = file.open()?;

        // SAFETY: The file is open.
        if !unsafe { bindings::rust_vfs_can_be_read(file.as_ptr()) } {
            return Err(EINVAL);
        }
        // INVARIANT: It was just checked.
        Ok(Self { file, registered })
    }

    /// The file, which is open as long as this lives.
    pub(super) fn as_ptr(&self) -> *mut bindings::file {
        self.file.as_ptr()
    }

    /// The depth of a file system of type `T` that stands on it.
    ///
    /// # Errors
    ///
    /// [`EINVAL`] if it is more than the kernel allows.
    pub(crate) fn stack_depth(&self) -> Result<StackDepth> {
        // SAFETY: The file is open, so its inode is live.
        unsafe {
            let inode = bindings::rust_vfs_file_inode(self.as_ptr());
            self.registered.depth_on(inode)
        }
    }

    /// The fs-verity digest of what is read from it, if there is one.
    pub(crate) fn verity_digest(&self) -> Option<verity::Digest>
    where
        T: backing::Operations,
    {
        // SAFETY: The file is open.
        unsafe { verity::digest(self.as_ptr(), self.registered) }
    }
}
