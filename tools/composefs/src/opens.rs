// SPDX-License-Identifier: GPL-2.0-only
//! Which files of a file system are opened.

use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::sys::fanotify::{EventFFlags, Fanotify, InitFlags, MarkFlags, MaskFlags};
use rustix::fs::{fstat, CWD};

/// Notes them from the moment on when it is made, by whomever and whichever mount they are opened.
pub struct Opens(Fanotify);

impl Opens {
    /// Those of the file system that is mounted at `root`.
    pub fn of(root: &Path) -> Result<Self> {
        let init = InitFlags::FAN_CLASS_NOTIF
            | InitFlags::FAN_CLOEXEC
            | InitFlags::FAN_NONBLOCK
            | InitFlags::FAN_UNLIMITED_QUEUE;
        // The kernel opens each file again, a pipe as well.
        let files = EventFFlags::O_RDONLY
            | EventFFlags::O_CLOEXEC
            | EventFFlags::O_LARGEFILE
            | EventFFlags::O_NONBLOCK;
        let group = Fanotify::init(init, files).context("cannot see what is opened")?;
        let flags = MarkFlags::FAN_MARK_ADD | MarkFlags::FAN_MARK_FILESYSTEM;
        group
            .mark(flags, MaskFlags::FAN_OPEN, CWD, Some(root))
            .context("cannot see what is opened")?;
        Ok(Self(group))
    }

    /// Gives the numbers of those inodes that were opened meanwhile, in that order.
    pub fn take(&self, opened: &mut dyn FnMut(u64)) -> Result<()> {
        loop {
            let events = match self.0.read_events() {
                Ok(events) => events,
                Err(Errno::EAGAIN) => return Ok(()),
                Err(Errno::EINTR) => continue,
                Err(error) => return Err(error).context("cannot see what is opened"),
            };
            for file in events.iter().filter_map(|event| event.fd()) {
                opened(fstat(file)?.st_ino);
            }
        }
    }
}

impl AsFd for Opens {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
