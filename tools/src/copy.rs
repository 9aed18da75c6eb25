// SPDX-License-Identifier: GPL-2.0-only
//! Copying a file's content: sharing its blocks if the filesystem can, else within the kernel.

use std::fs::File;
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{anyhow, Context, Result};
use rustix::io::Errno;

use crate::read::BUFFER_SIZE;

/// Where content comes from.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// The file.
    pub file: &'a File,
    /// Its size.
    pub size: u64,
    /// All of its content, if it is in memory.
    pub content: Option<&'a [u8]>,
}

/// Fills the empty file `to`. `reflink` says whether cloning is worth a try, and is cleared when
/// it turns out not to be. Returns whether the content is known to be the one that the source
/// holds in memory.
///
/// # Errors
/// If the source is not of the size that it was, or writing fails.
pub fn fill(to: BorrowedFd, source: Source, reflink: &AtomicBool) -> Result<bool> {
    if reflink.load(Ordering::Relaxed) {
        match rustix::fs::ioctl_ficlone(to, source.file) {
            Ok(()) => return Ok(false),
            Err(Errno::OPNOTSUPP | Errno::NOTTY | Errno::XDEV | Errno::NOSYS) => {
                reflink.store(false, Ordering::Relaxed);
            }
            // Whatever it is about this file, it can still be copied.
            Err(_) => {}
        }
    }
    if let Some(content) = source.content {
        write_all(to, content).context("cannot write")?;
        return Ok(true);
    }
    copy_range(to, source)?;
    Ok(false)
}

/// Writes all of `data`.
///
/// # Errors
/// As of `write`.
pub(crate) fn write_all(to: BorrowedFd, mut data: &[u8]) -> Result<(), Errno> {
    while !data.is_empty() {
        match rustix::io::write(to, data) {
            Ok(count) => data = data.get(count..).unwrap_or_default(),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn copy_range(to: BorrowedFd, source: Source) -> Result<()> {
    let mut offset = 0;
    while offset < source.size {
        let left = usize::try_from(source.size - offset).unwrap_or(usize::MAX);
        // The kernel copies at most 2 GiB at a time; ask for less, so that a signal gets through.
        let step = left.min(1 << 30);
        match rustix::fs::copy_file_range(source.file, Some(&mut offset), to, None, step) {
            Ok(0) => return copy_buffered(to, source, offset),
            Ok(_) | Err(Errno::INTR) => {}
            // Another filesystem, or one of those that cannot, or a file that cannot.
            Err(Errno::XDEV | Errno::NOSYS | Errno::OPNOTSUPP | Errno::PERM | Errno::INVAL) => {
                return copy_buffered(to, source, offset);
            }
            Err(error) => return Err(error).context("cannot copy"),
        }
    }
    Ok(())
}

fn copy_buffered(to: BorrowedFd, source: Source, mut offset: u64) -> Result<()> {
    let mut buffer = vec![0; BUFFER_SIZE];
    while offset < source.size {
        let count = match rustix::io::pread(source.file, &mut buffer, offset) {
            Ok(0) => return Err(anyhow!("the source became shorter while it was read")),
            Ok(count) => count,
            Err(Errno::INTR) => continue,
            Err(error) => return Err(error).context("cannot read"),
        };
        write_all(to, &buffer[..count]).context("cannot write")?;
        offset += count as u64;
    }
    Ok(())
}
