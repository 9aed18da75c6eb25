// SPDX-License-Identifier: GPL-2.0-only
//! Files that appear under their name only when they are complete.
//!
//! The file is made without a name (`O_TMPFILE`), so that one which is given up, even by a crash,
//! is gone; where the filesystem cannot do that, it gets a temporary name.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{Access, AtFlags, Mode, OFlags, RenameFlags};
use rustix::io::{Errno, Result};

/// A file that has no name yet.
#[derive(Debug)]
pub struct Staged<'a> {
    dir: BorrowedFd<'a>,
    file: OwnedFd,
    /// The temporary name, if there has to be one.
    name: Option<String>,
}

/// Whether a file got the name that it was to have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Published {
    /// It did.
    Created,
    /// A file of that name is there; it was left alone.
    Exists,
}

fn temporary_name() -> String {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let number = COUNTER.fetch_add(1, Ordering::Relaxed);
    format!(".tmp-{}-{number}", std::process::id())
}

fn magic_link(file: BorrowedFd) -> String {
    format!("/proc/self/fd/{}", file.as_raw_fd())
}

impl<'a> Staged<'a> {
    /// Makes an empty file on the filesystem of the directory `dir`, open for writing.
    ///
    /// # Errors
    /// As of `open`.
    pub fn new(dir: BorrowedFd<'a>, mode: Mode) -> Result<Self> {
        let flags = OFlags::RDWR | OFlags::CLOEXEC;
        match rustix::fs::openat(dir, ".", flags | OFlags::TMPFILE, mode) {
            // Without /proc it could not be given a name later.
            Ok(file) if rustix::fs::access(magic_link(file.as_fd()), Access::EXISTS).is_ok() => {
                return Ok(Self {
                    dir,
                    file,
                    name: None,
                });
            }
            Ok(_) | Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL) => {}
            Err(error) => return Err(error),
        }
        loop {
            let name = temporary_name();
            let create = flags | OFlags::CREATE | OFlags::EXCL;
            match rustix::fs::openat(dir, &name, create, mode) {
                Ok(file) => {
                    return Ok(Self {
                        dir,
                        file,
                        name: Some(name),
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
        self.file = match &self.name {
            None => rustix::fs::open(magic_link(self.file()), flags, Mode::empty())?,
            Some(name) => {
                rustix::fs::openat(self.dir, name, flags | OFlags::NOFOLLOW, Mode::empty())?
            }
        };
        Ok(())
    }

    /// Gives the file a name in the directory, unless something has that name.
    ///
    /// # Errors
    /// As of `link` and `rename`.
    pub fn publish(mut self, name: &str) -> Result<Published> {
        let done = match self.name.take() {
            None => rustix::fs::linkat(
                rustix::fs::CWD,
                magic_link(self.file()),
                self.dir,
                name,
                AtFlags::SYMLINK_FOLLOW,
            ),
            Some(temporary) => {
                let done = self.rename_new(&temporary, name);
                if done.is_err() {
                    self.name = Some(temporary);
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

    fn rename_new(&self, from: &str, to: &str) -> Result<()> {
        let (dir, flags) = (self.dir, RenameFlags::NOREPLACE);
        match rustix::fs::renameat_with(dir, from, dir, to, flags) {
            Err(Errno::INVAL | Errno::NOSYS) => {
                rustix::fs::linkat(dir, from, dir, to, AtFlags::empty())?;
                rustix::fs::unlinkat(dir, from, AtFlags::empty())
            }
            done => done,
        }
    }

    /// Gives the file a name in the directory, in place of whatever has it.
    ///
    /// # Errors
    /// As of `link` and `rename`.
    pub fn replace(mut self, name: &std::ffi::OsStr) -> Result<()> {
        if self.name.is_none() {
            let temporary = temporary_name();
            let link = magic_link(self.file());
            let flags = AtFlags::SYMLINK_FOLLOW;
            rustix::fs::linkat(rustix::fs::CWD, link, self.dir, &temporary, flags)?;
            self.name = Some(temporary);
        }
        if let Some(temporary) = &self.name {
            rustix::fs::renameat(self.dir, temporary, self.dir, name)?;
        }
        self.name = None;
        Ok(())
    }
}

impl Drop for Staged<'_> {
    fn drop(&mut self) {
        if let Some(name) = &self.name {
            // Nothing is left to do if even this fails.
            let _ = rustix::fs::unlinkat(self.dir, name, AtFlags::empty());
        }
    }
}
