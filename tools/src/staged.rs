// SPDX-License-Identifier: GPL-2.0-only
//! Files that appear under their name only when they are complete.
//!
//! The file is made without a name (`O_TMPFILE`), so that one which is given up, even by a crash,
//! is gone; where the filesystem cannot do that, it gets a temporary name.

use std::ffi::OsStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::LazyLock;

use rustix::fs::{Access, AtFlags, Mode, OFlags, RenameFlags};
use rustix::io::{Errno, Result};

/// A file that has no name yet.
#[derive(Debug)]
pub struct Staged {
    file: OwnedFd,
    /// Its directory and temporary name, if there has to be one.
    temporary: Option<(OwnedFd, String)>,
}

/// Whether a file got the name that it was to have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Published {
    /// It did.
    Created,
    /// A file of that name is there; it was left alone.
    Exists,
}

/// Whether open files can be found below /proc. Without, a nameless file stays nameless.
static HAS_PROC: LazyLock<bool> =
    LazyLock::new(|| rustix::fs::access("/proc/self/fd", Access::EXISTS).is_ok());

/// How every temporary name begins.
pub const TEMPORARY: &str = ".tmp-";

fn temporary_name() -> String {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let number = COUNTER.fetch_add(1, Ordering::Relaxed);
    format!("{TEMPORARY}{}-{number}", std::process::id())
}

fn magic_link(file: BorrowedFd) -> String {
    format!("/proc/self/fd/{}", file.as_raw_fd())
}

impl Staged {
    /// Makes an empty file on the filesystem of the directory `dir`, open for writing.
    ///
    /// # Errors
    /// As of `open`.
    pub fn new(dir: BorrowedFd, mode: Mode) -> Result<Self> {
        let flags = OFlags::RDWR | OFlags::CLOEXEC;
        if *HAS_PROC {
            match rustix::fs::openat(dir, ".", flags | OFlags::TMPFILE, mode) {
                Ok(file) => {
                    return Ok(Self {
                        file,
                        temporary: None,
                    });
                }
                Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL | Errno::NOENT) => {}
                Err(error) => return Err(error),
            }
        }
        let dir = rustix::io::fcntl_dupfd_cloexec(dir, 0)?;
        loop {
            let name = temporary_name();
            let create = flags | OFlags::CREATE | OFlags::EXCL;
            match rustix::fs::openat(&dir, &name, create, mode) {
                Ok(file) => {
                    return Ok(Self {
                        file,
                        temporary: Some((dir, name)),
                    });
                }
                // Left over from a process that had our number.
                Err(Errno::EXIST) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// The file.
    pub fn file(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// Gives up writing: the file is open for reading only from here on, as fs-verity wants it.
    ///
    /// # Errors
    /// As of `open`.
    pub fn seal(&mut self) -> Result<()> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        self.file = match &self.temporary {
            None => rustix::fs::open(magic_link(self.file()), flags, Mode::empty())?,
            Some((dir, name)) => {
                rustix::fs::openat(dir, name, flags | OFlags::NOFOLLOW, Mode::empty())?
            }
        };
        Ok(())
    }

    /// Closes the file, which is left under a temporary name in `dir`, to be named or removed by
    /// whoever has that.
    ///
    /// # Errors
    /// As of `link`.
    pub fn park(mut self, dir: BorrowedFd) -> Result<String> {
        if let Some((_, name)) = self.temporary.take() {
            return Ok(name);
        }
        loop {
            let name = temporary_name();
            match self.link(dir, OsStr::new(&name)) {
                Ok(()) => return Ok(name),
                // Left over from a process that had our number.
                Err(Errno::EXIST) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Gives the file the name `name` in `dir`, unless something has that name.
    ///
    /// # Errors
    /// As of `link` and `rename`.
    pub fn publish(mut self, dir: BorrowedFd, name: &str) -> Result<Published> {
        let done = match self.temporary.take() {
            None => self.link(dir, OsStr::new(name)),
            Some(temporary) => {
                let done = rename_new(temporary.0.as_fd(), &temporary.1, dir, name);
                if done.is_err() {
                    self.temporary = Some(temporary);
                }
                done
            }
        };
        match done {
            Ok(()) => Ok(Published::Created),
            Err(Errno::EXIST) => Ok(Published::Exists),
            Err(error) => Err(error),
        }
    }

    /// Gives the file the name `name` in `dir`, in place of whatever has it.
    ///
    /// # Errors
    /// As of `link` and `rename`.
    pub fn replace(mut self, dir: BorrowedFd, name: &OsStr) -> Result<()> {
        if self.temporary.is_none() {
            let temporary = temporary_name();
            self.link(dir, OsStr::new(&temporary))?;
            self.temporary = Some((rustix::io::fcntl_dupfd_cloexec(dir, 0)?, temporary));
        }
        if let Some((from, temporary)) = &self.temporary {
            rustix::fs::renameat(from, temporary, dir, name)?;
        }
        self.temporary = None;
        Ok(())
    }

    fn link(&self, dir: BorrowedFd, name: &OsStr) -> Result<()> {
        let link = magic_link(self.file());
        rustix::fs::linkat(rustix::fs::CWD, link, dir, name, AtFlags::SYMLINK_FOLLOW)
    }
}

/// Renames a file, unless something has the new name.
///
/// # Errors
/// As of `rename`; `EEXIST` if something has.
pub(crate) fn rename_new(from: BorrowedFd, old: &str, to: BorrowedFd, new: &str) -> Result<()> {
    match rustix::fs::renameat_with(from, old, to, new, RenameFlags::NOREPLACE) {
        Err(Errno::INVAL | Errno::NOSYS) => {
            rustix::fs::linkat(from, old, to, new, AtFlags::empty())?;
            rustix::fs::unlinkat(from, old, AtFlags::empty())
        }
        done => done,
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if let Some((dir, name)) = &self.temporary {
            // Nothing is left to do if even this fails.
            let _ = rustix::fs::unlinkat(dir, name, AtFlags::empty());
        }
    }
}
