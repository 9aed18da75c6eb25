// SPDX-License-Identifier: GPL-2.0-only

//! Reading a file where it lies: in its page cache.
//!
//! C header: [`include/linux/pagemap.h`](srctree/include/linux/pagemap.h)

use super::{bindings, regular_file::RegularFile, verity};
use core::{marker::PhantomData, ops::Deref, ptr::NonNull};
use kernel::{
    error::{from_err_ptr, to_result},
    prelude::*,
};

/// How many pages are read at once where one is missing: 128 KiB of 4-KiB
/// pages, the kernel's default read-ahead window.
const WINDOW: u32 = 32;

/// A regular file that nobody can write to while this lives.
///
/// # Invariants
///
/// The file has a page cache, and write access to it is denied: `i_writecount`
/// is below zero on account of this value. `is_stable` is what
/// `rust_vfs_has_stable_folios()` says of it.
pub(crate) struct FrozenFile {
    file: RegularFile,
    is_stable: bool,
}

impl FrozenFile {
    /// Opens the file at `path` with the credentials of the current task.
    ///
    /// # Errors
    ///
    /// Those of `open(2)`; [`EINVAL`] if it is not a regular file, or one
    /// without a page cache of its own; [`ETXTBSY`] if it is open for writing.
    pub(crate) fn open(path: &CStr) -> Result<Self> {
        let file = RegularFile::open(path)?;

        // SAFETY: The file is open.
        unsafe {
            if !bindings::rust_vfs_has_page_cache(file.as_ptr()) {
                return Err(EINVAL);
            }
            to_result(bindings::rust_vfs_deny_write_access(file.as_ptr()))?;
        }
        // SAFETY: The file is open.
        let is_stable = unsafe { bindings::rust_vfs_has_stable_folios(file.as_ptr()) };

        // INVARIANT: All of it was established above.
        Ok(Self { file, is_stable })
    }

    /// Its size in bytes.
    pub(crate) fn size(&self) -> u64 {
        // SAFETY: The file is open.
        unsafe { bindings::rust_vfs_file_size(self.file.as_ptr()) }
    }

    /// How many file systems are stacked in the one it is on.
    pub(crate) fn stack_depth(&self) -> u32 {
        // SAFETY: The file is open, so its superblock is live.
        unsafe { bindings::rust_vfs_file_stack_depth(self.file.as_ptr()) }
    }

    /// Its fs-verity digest, if it has fs-verity.
    pub(crate) fn verity_digest(&self) -> Option<verity::Digest> {
        // SAFETY: The file is open.
        unsafe { verity::digest(self.file.as_ptr()) }
    }

    /// The bytes of the file from `offset` on: `len` of them, or those up to
    /// the end of the file.
    ///
    /// # Errors
    ///
    /// Those of reading the file; [`EINVAL`] if the bytes cross a page
    /// boundary or none of them is inside the file.
    pub(crate) fn view(&self, offset: u64, len: usize) -> Result<View<'_>> {
        let rest = self.size().checked_sub(offset).filter(|&rest| rest > 0);
        let len = len.min(usize::try_from(rest.ok_or(EINVAL)?).unwrap_or(usize::MAX));

        let page = kernel::page::PAGE_SIZE as u64;
        let in_page = (offset % page) as usize;
        if in_page.checked_add(len).ok_or(EINVAL)? > kernel::page::PAGE_SIZE {
            return Err(EINVAL);
        }

        // SAFETY: The file is open and has a page cache. Whether its folios
        // are stable is as the type invariant says.
        let folio = from_err_ptr(unsafe {
            bindings::rust_vfs_read_folio(
                self.file.as_ptr(),
                (offset / page) as c_ulong,
                WINDOW,
                self.is_stable,
            )
        })?;
        let folio = Folio(NonNull::new(folio).ok_or(EIO)?, PhantomData);

        // The folio may have more than one page.
        let in_folio = folio.position().and_then(|start| offset.checked_sub(start));
        let in_folio = usize::try_from(in_folio.ok_or(EIO)?).map_err(|_| EIO)?;
        if in_folio.checked_add(len).ok_or(EIO)? > folio.size() {
            return Err(EIO);
        }
        // SAFETY: The bytes lie in the folio, as was just checked, whose
        // memory is mapped (there is no high memory, see Kconfig).
        let start = unsafe { folio.address().add(in_folio) };
        Ok(View { folio, start, len })
    }
}

impl Drop for FrozenFile {
    fn drop(&mut self) {
        // SAFETY: By the type invariant write access is denied on account of
        // this value, and the file is open.
        unsafe { bindings::rust_vfs_allow_write_access(self.file.as_ptr()) };
    }
}

/// A reference to a folio of a [`FrozenFile`], or of a copy of one.
///
/// # Invariants
///
/// Owns a reference to the folio, which is up to date.
struct Folio<'a>(NonNull<bindings::folio>, PhantomData<&'a FrozenFile>);

impl Folio<'_> {
    /// Where in the file it begins.
    fn position(&self) -> Option<u64> {
        // SAFETY: By the type invariant the folio is live.
        u64::try_from(unsafe { bindings::rust_vfs_folio_pos(self.0.as_ptr()) }).ok()
    }

    fn size(&self) -> usize {
        // SAFETY: By the type invariant the folio is live.
        unsafe { bindings::rust_vfs_folio_size(self.0.as_ptr()) }
    }

    fn address(&self) -> *const u8 {
        // SAFETY: By the type invariant the folio is live.
        unsafe { bindings::rust_vfs_folio_address(self.0.as_ptr()) }
            .cast::<u8>()
            .cast_const()
    }
}

impl Drop for Folio<'_> {
    fn drop(&mut self) {
        // SAFETY: By the type invariant there is a reference to give back.
        unsafe { bindings::rust_vfs_folio_put(self.0.as_ptr()) };
    }
}

/// Bytes of a [`FrozenFile`], in place.
///
/// # Invariants
///
/// `start` is the address of `len` initialised bytes of `folio` that do not
/// change: the folio was up to date, and its file cannot be opened or mapped
/// for writing, or truncated, while the [`FrozenFile`] that is borrowed here
/// lives. On file systems with a device, and on tmpfs, there is no other way to
/// alter a folio that is up to date; on others there is (FUSE, network file
/// systems; deduplication on XFS), and the folio is a copy that nobody else has.
/// Left is what the kernel accepts for executables that run, too: a mapping from
/// before that is pinned as the target of I/O in flight.
pub(crate) struct View<'a> {
    /// Keeps the memory in place.
    #[allow(dead_code)]
    folio: Folio<'a>,
    start: *const u8,
    len: usize,
}

impl Deref for View<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: By the type invariant.
        unsafe { core::slice::from_raw_parts(self.start, self.len) }
    }
}
