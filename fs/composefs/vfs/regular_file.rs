// SPDX-License-Identifier: GPL-2.0-only

//! Regular files, opened for the driver's own use.
//!
//! C header: [`include/linux/fs.h`](srctree/include/linux/fs.h)

use super::bindings;
use core::ptr::NonNull;
use kernel::{error::from_err_ptr, fs::LocalFile, prelude::*, sync::aref::ARef};

/// A regular file that is open for reading.
///
/// # Invariants
///
/// Owns a reference to an open regular file.
pub(super) struct RegularFile(NonNull<bindings::file>);

// SAFETY: A `struct file` may be used from any task; its position, the only thing with a rule about
// that, is not used.
unsafe impl Send for RegularFile {}

// SAFETY: As for `Send`.
unsafe impl Sync for RegularFile {}

impl RegularFile {
    /// Opens the file at `path` with the credentials of the current task.
    ///
    /// # Errors
    ///
    /// Those of `open(2)`; [`EINVAL`] if it is not a regular file.
    pub(super) fn open(path: &CStr) -> Result<Self> {
        // SAFETY: The path is NUL-terminated.
        let file = from_err_ptr(unsafe {
            bindings::filp_open(
                path.as_char_ptr(),
                // What is no regular file is refused below; until then, no FIFO waits for its
                // writer, and no terminal becomes ours.
                (bindings::O_RDONLY
                    | bindings::O_LARGEFILE
                    | bindings::O_NONBLOCK
                    | bindings::O_NOCTTY) as c_int,
                0,
            )
        })?;
        // It gives the reference back, whatever kind of file that is.
        let file = Self(NonNull::new(file).ok_or(ENOENT)?);

        // SAFETY: The file is open.
        if !unsafe { bindings::rust_vfs_is_regular(file.as_ptr()) } {
            return Err(EINVAL);
        }
        // INVARIANT: It was just checked, and the reference is ours.
        Ok(file)
    }

    /// The very file that somebody has open.
    ///
    /// # Errors
    ///
    /// [`EINVAL`] if it is not a regular file that is open for reading.
    pub(super) fn from_open(file: &LocalFile) -> Result<Self> {
        // SAFETY: The file is open.
        let is_good = unsafe {
            bindings::rust_vfs_is_regular(file.as_ptr())
                && bindings::rust_vfs_is_readable(file.as_ptr())
        };
        if !is_good {
            return Err(EINVAL);
        }
        // INVARIANT: It was just checked; the reference of the `ARef` becomes ours. A file that is
        // open for reading stays so.
        Ok(Self(ARef::into_raw(ARef::from(file)).cast()))
    }

    /// The file, which is open as long as this lives.
    pub(super) fn as_ptr(&self) -> *mut bindings::file {
        self.0.as_ptr()
    }
}

impl Drop for RegularFile {
    fn drop(&mut self) {
        // SAFETY: By the type invariant there is a reference to give back.
        unsafe { bindings::fput(self.0.as_ptr()) };
    }
}
