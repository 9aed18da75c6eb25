// SPDX-License-Identifier: GPL-2.0-only

//! What fs-verity says about a file.
//!
//! C header: [`include/linux/fsverity.h`](srctree/include/linux/fsverity.h)

use super::bindings;

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

/// The digest of an open file, if it has fs-verity.
///
/// From then on every byte that is read from the file is checked against it by
/// its file system, and the file cannot be written to.
///
/// # Safety
///
/// `file` must be open.
pub(super) unsafe fn digest(file: *mut bindings::file) -> Option<Digest> {
    let mut digest = Digest {
        algorithm: 0,
        bytes: [0; bindings::FS_VERITY_MAX_DIGEST_SIZE as usize],
        len: 0,
    };
    // SAFETY: The inode of an open file is live, and has loaded its fs-verity
    // information when it was opened. The buffer is of the size that the
    // function asks for.
    let len = unsafe {
        bindings::fsverity_get_digest(
            bindings::rust_vfs_file_inode(file),
            digest.bytes.as_mut_ptr(),
            &mut digest.algorithm,
            core::ptr::null_mut(),
        )
    };
    digest.len = usize::try_from(len).ok().filter(|&len| len > 0)?;
    Some(digest)
}
