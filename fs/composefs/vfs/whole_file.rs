// SPDX-License-Identifier: GPL-2.0-only

//! Reading a small file into memory, once.

use super::{bindings, buffer::Buffer, named::NamedFile};
use core::ops::Deref;
use kernel::prelude::*;

/// The content that a file had when it was read.
pub(crate) struct WholeFile {
    buffer: Buffer,
    len: usize,
}

impl WholeFile {
    /// Reads `file`, which is opened with the credentials of the current task if it is not open.
    ///
    /// # Errors
    ///
    /// Those of `open(2)` and `read(2)`; [`EINVAL`] if it is not a regular file; [`EFBIG`] if it
    /// has more than `limit` bytes.
    pub(crate) fn read(file: &mut NamedFile, limit: usize) -> Result<Self> {
        // One more byte, to see that it is too long.
        let mut buffer = Buffer::zeroed(limit.checked_add(1).ok_or(EFBIG)?)?;

        let file = file.open()?;

        // SAFETY: The file is open, and the buffer has this length.
        let len = unsafe {
            bindings::rust_vfs_read_whole(file.as_ptr(), buffer.as_mut_ptr().cast(), buffer.len())
        };
        match usize::try_from(len) {
            Ok(len) if len <= limit => Ok(Self { buffer, len }),
            Ok(_) => Err(EFBIG),
            Err(_) => Err(Error::from_errno(len as c_int)),
        }
    }
}

impl Deref for WholeFile {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.buffer.get(..self.len).unwrap_or_default()
    }
}
