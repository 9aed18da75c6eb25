// SPDX-License-Identifier: GPL-2.0-only

//! Looking at what is in a file that nobody writes to.

use super::{
    backing, bindings,
    filesystem::FileSystem,
    readable_file::ReadableFile,
    stable_bytes::{Copies, StableBytes},
    verity,
};
use core::ptr::NonNull;
use kernel::{
    error::{from_err_ptr, to_result},
    prelude::*,
};

/// How many pages are read at once where one is missing: 128 KiB, the kernel's default read-ahead
/// window.
const WINDOW: u32 = (128 << 10) / kernel::page::PAGE_SIZE as u32;

/// A regular file that nobody can write to while this lives.
///
/// # Invariants
///
/// The file has fs-verity; or else write access to it `is_denied`: `i_writecount` is below zero on
/// account of this value. `has_page_cache` is what `rust_vfs_has_page_cache()` says of it. Without
/// `copies` it has fs-verity.
pub(crate) struct FrozenFile<T: FileSystem> {
    file: ReadableFile<T>,
    has_page_cache: bool,
    is_denied: bool,
    /// Where it cannot be looked at in place.
    copies: Option<Copies>,
}

impl<T: FileSystem> FrozenFile<T> {
    /// Sees to it that nobody writes to `file` any more. Where fs-verity does, nothing has to be
    /// denied.
    ///
    /// # Errors
    ///
    /// [`ETXTBSY`] if it is open for writing; [`ENOMEM`].
    pub(crate) fn new(file: ReadableFile<T>) -> Result<Self> {
        // SAFETY: The file is open.
        let (has_page_cache, has_verity) = unsafe {
            (
                bindings::rust_vfs_has_page_cache(file.as_ptr()),
                bindings::rust_vfs_has_verity(file.as_ptr()),
            )
        };
        let copies = match has_page_cache && has_verity {
            true => None,
            false => Some(Copies::new()?),
        };
        if !has_verity {
            // SAFETY: The file is open.
            to_result(unsafe { bindings::rust_vfs_deny_write_access(file.as_ptr()) })?;
        }
        // INVARIANT: All of it was established above, and fs-verity stays enabled.
        Ok(Self {
            file,
            has_page_cache,
            is_denied: !has_verity,
            copies,
        })
    }

    /// Its size in bytes.
    pub(crate) fn size(&self) -> u64 {
        // SAFETY: The file is open.
        unsafe { bindings::rust_vfs_file_size(self.file.as_ptr()) }
    }

    /// A number for what its file system knows it by, the time at which it was changed last, and
    /// `content`: the 128-bit FNV-1a hash, of words in place of bytes.
    pub(crate) fn fingerprint(&self, content: &[u8]) -> [u8; 16] {
        const OFFSET: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
        const PRIME: u128 = 0x0100_0000_0000_0000_0000_013b;

        let mut nanoseconds = 0;
        // SAFETY: The file is open, so its inode and the superblock are live, whose UUID is set
        // before there are files. The nanoseconds are there to be written to.
        let (uuid, number, seconds) = unsafe {
            let inode = bindings::rust_vfs_file_inode(self.file.as_ptr());
            (
                (*(*inode).i_sb).s_uuid.b,
                bindings::rust_vfs_inode_number(inode),
                bindings::rust_vfs_file_mtime(self.file.as_ptr(), &mut nanoseconds),
            )
        };
        // Not as methods: the prelude has another `chain()`.
        let words = Iterator::chain(content.chunks_exact(8), uuid.chunks_exact(8))
            .filter_map(|word| word.first_chunk().copied())
            .map(u64::from_le_bytes);
        let numbers = [number, self.size(), seconds as u64, nanoseconds.into()];

        Iterator::chain(words, numbers)
            .fold(OFFSET, |hash, word| {
                (hash ^ u128::from(word)).wrapping_mul(PRIME)
            })
            .to_le_bytes()
    }

    /// The fs-verity digest of what is read from it, if there is one.
    pub(crate) fn verity_digest(&self) -> Option<verity::Digest>
    where
        T: backing::Operations,
    {
        self.file.verity_digest()
    }

    /// The superblock that the file is on if it has fs-verity, else null. It is live as long as
    /// `self`.
    pub(super) fn verity_super_block(&self) -> *const bindings::super_block {
        if self.copies.is_some() {
            return core::ptr::null();
        }
        // SAFETY: The file is open, so its inode is live.
        unsafe { (*bindings::rust_vfs_file_inode(self.file.as_ptr())).i_sb }
    }

    /// The bytes of the file from `offset` on: `len` of them, or those up to the end of the file.
    ///
    /// # Errors
    ///
    /// Those of reading the file; [`EINVAL`] if the bytes cross a page boundary or none of them is
    /// inside the file.
    pub(crate) fn view(&self, offset: u64, len: usize) -> Result<StableBytes> {
        let rest = self.size().checked_sub(offset).filter(|&rest| rest > 0);
        let len = len.min(usize::try_from(rest.ok_or(EINVAL)?).unwrap_or(usize::MAX));

        let in_page = (offset % kernel::page::PAGE_SIZE as u64) as usize;
        if in_page.checked_add(len).ok_or(EINVAL)? > kernel::page::PAGE_SIZE {
            return Err(EINVAL);
        }
        let kept = |copies: &Copies| copies.find(offset, len);
        if let Some(bytes) = self.copies.as_ref().and_then(kept) {
            return Ok(bytes);
        }

        let mut start = core::ptr::null();
        // SAFETY: The file is open, the bytes lie in one page, and `start` is there to be written
        // to. By the type invariant the kernel can read the file, and what is said of it is so.
        let folio = from_err_ptr(unsafe {
            bindings::rust_vfs_look_at(
                self.file.as_ptr(),
                i64::try_from(offset).map_err(|_| EINVAL)?,
                len,
                WINDOW,
                self.has_page_cache,
                self.copies.is_none(),
                &mut start,
            )
        })?;
        let folio = NonNull::new(folio).ok_or(EIO)?;

        // SAFETY: The function gave a reference to the folio, and says where the bytes are, which
        // it has read. The folio is either a copy that nobody else has, or in the page cache of a
        // file with fs-verity, where the bytes do not change because all of this holds:
        //
        // - The folio is up to date, so its file system does not read into it any more.
        // - Nobody writes to it through the file. fs-verity is enabled only while nobody could,
        //   which includes mappings; from then on the file cannot be opened for writing, nor can
        //   its size be changed; and it stays enabled.
        // - It is not pinned, so nobody writes to it by another way that they got hold of before
        //   fs-verity was enabled: a buffer that they had registered, or a read in flight. Nobody
        //   gets hold of one now: that would take a writable mapping. That whoever writes to a
        //   user's pages pins them is a rule of the kernel, see pin_user_pages.rst. Who breaks it,
        //   as direct reads of NFS, 9P and Ceph still do, changes verified pages of every file.
        // - It is not reused, split or moved while there is a reference.
        //
        // What else changes folios that are up to date happens on file systems without fs-verity:
        // the server of FUSE stores into them, and XFS zeroes parts of them where it deduplicates.
        let bytes = unsafe { StableBytes::from_raw(folio, start.cast(), len) };
        if let Some(copies) = &self.copies {
            copies.keep(offset, &bytes);
        }
        Ok(bytes)
    }
}

impl<T: FileSystem> Drop for FrozenFile<T> {
    fn drop(&mut self) {
        if self.is_denied {
            // SAFETY: By the type invariant write access is denied on account of this value, and
            // the file is open.
            unsafe { bindings::rust_vfs_allow_write_access(self.file.as_ptr()) };
        }
    }
}
