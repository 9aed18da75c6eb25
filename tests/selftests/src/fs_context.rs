// SPDX-License-Identifier: GPL-2.0-only
//! Mounting with the new mount API, and the messages that a filesystem leaves in its context.

use std::fmt;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::CWD;
use rustix::io::{self, Errno};
use rustix::mount::{
    fsconfig_create, fsconfig_reconfigure, fsconfig_set_fd, fsconfig_set_flag, fsconfig_set_string,
    fsmount, fsopen, fspick, move_mount, FsMountFlags, FsOpenFlags, FsPickFlags, MountAttrFlags,
    MoveMountFlags,
};

/// Why a mount, or one option of it, was refused.
#[derive(Debug)]
pub struct Refusal {
    /// The step that failed, such as `basedir=/store` or `create`.
    pub step: String,
    pub errno: Errno,
    /// What the filesystem said about it, one message each, such as "e composefs: no image".
    pub log: Vec<String>,
}

impl Refusal {
    /// What turns the failure of this step, which had nothing to say, into a refusal.
    pub fn of(step: &str) -> impl Fn(Errno) -> Self + '_ {
        move |errno| Self {
            step: step.to_owned(),
            errno,
            log: Vec::new(),
        }
    }

    /// The one error message of composefs, without its prefix; `None` if there is none or several.
    pub fn message(&self) -> Option<&str> {
        let mut messages = self
            .log
            .iter()
            .filter_map(|line| line.strip_prefix("e composefs: "));
        messages.next().filter(|_| messages.next().is_none())
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}; log: {:?}", self.step, self.errno, self.log)
    }
}

impl std::error::Error for Refusal {}

/// A filesystem context, see fsopen(2).
pub struct FsContext(OwnedFd);

impl FsContext {
    pub fn open(filesystem: &str) -> io::Result<Self> {
        fsopen(filesystem, FsOpenFlags::FSOPEN_CLOEXEC).map(Self)
    }

    /// The context of what is mounted at `path`, for changing it.
    pub fn pick(path: &Path) -> io::Result<Self> {
        fspick(CWD, path, FsPickFlags::FSPICK_CLOEXEC).map(Self)
    }

    pub fn set_string(&self, key: &str, value: &str) -> Result<(), Refusal> {
        self.told(&format!("{key}={value}"), || {
            fsconfig_set_string(&self.0, key, value)
        })
    }

    pub fn set_flag(&self, key: &str) -> Result<(), Refusal> {
        self.told(key, || fsconfig_set_flag(&self.0, key))
    }

    pub fn set_fd(&self, key: &str, fd: impl AsFd) -> Result<(), Refusal> {
        self.told(key, || fsconfig_set_fd(&self.0, key, fd))
    }

    pub fn create(&self) -> Result<(), Refusal> {
        self.told("create", || fsconfig_create(&self.0))
    }

    pub fn reconfigure(&self) -> Result<(), Refusal> {
        self.told("reconfigure", || fsconfig_reconfigure(&self.0))
    }

    /// Attaches what [`create`](Self::create) made at `target`.
    pub fn attach(&self, target: &Path) -> Result<(), Refusal> {
        self.told("attach", || {
            let flags = FsMountFlags::FSMOUNT_CLOEXEC;
            let mount = fsmount(&self.0, flags, MountAttrFlags::empty())?;
            let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
            move_mount(&mount, "", CWD, target, flags)
        })
    }

    fn told(&self, step: &str, action: impl FnOnce() -> io::Result<()>) -> Result<(), Refusal> {
        action().map_err(|errno| Refusal {
            step: step.to_owned(),
            errno,
            log: self.log(),
        })
    }

    /// The messages that have come since the last time; each read of the context returns one.
    fn log(&self) -> Vec<String> {
        let mut messages = Vec::new();
        let mut message = [0; 4096];
        while let Ok(length) = io::read(&self.0, &mut message) {
            let text = String::from_utf8_lossy(message.get(..length).unwrap_or_default());
            messages.push(text.trim_end_matches(['\n', '\0']).to_owned());
        }
        messages
    }
}
