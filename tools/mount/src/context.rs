// SPDX-License-Identifier: GPL-2.0-only
//! The kernel's way to make a mount, see fsopen(2).

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{open, Mode, OFlags, CWD};
use rustix::io::{self, Errno};
use rustix::mount::{
    fsconfig_create, fsconfig_reconfigure, fsconfig_set_fd, fsconfig_set_flag, fsconfig_set_string,
    fsmount, fsopen, fspick, move_mount, FsMountFlags, FsOpenFlags, FsPickFlags, MountAttrFlags,
    MoveMountFlags,
};

use crate::error::{Error, Step};

/// The longest text that the kernel takes as one value, in bytes.
const TEXT_MAX: usize = 255;

/// A mount that is being made, or one that is being changed.
pub struct Context {
    fd: OwnedFd,
    file_system: &'static str,
}

impl Context {
    /// A new mount; `None` if the kernel does not know the file system, or no such calls.
    pub fn open(file_system: &'static str) -> Result<Option<Self>, Error> {
        match fsopen(file_system, FsOpenFlags::FSOPEN_CLOEXEC) {
            Ok(fd) => Ok(Some(Self { fd, file_system })),
            Err(Errno::NODEV | Errno::NOSYS) => Ok(None),
            Err(error) => {
                Err(error).step(|| format!("cannot mount anything of type {file_system}"))
            }
        }
    }

    /// The mount at `target`, which is of type `file_system`.
    pub fn pick(file_system: &'static str, target: &Path) -> Result<Self, Error> {
        let fd = fspick(CWD, target, FsPickFlags::FSPICK_CLOEXEC)
            .step(|| format!("cannot change {}", target.display()))?;
        Ok(Self { fd, file_system })
    }

    /// Sets an option to a text.
    pub fn text(&self, key: &str, value: &[u8]) -> Result<(), Error> {
        let result = fsconfig_set_string(&self.fd, key, value);
        self.told(result, || {
            format!("{key}={}", String::from_utf8_lossy(value))
        })
    }

    /// Sets an option that has no value.
    pub fn flag(&self, key: &str) -> Result<(), Error> {
        let result = fsconfig_set_flag(&self.fd, key);
        self.told(result, || key.into())
    }

    /// Sets an option to an open file.
    pub fn file(&self, key: &str, file: impl AsFd) -> Result<(), Error> {
        let result = fsconfig_set_fd(&self.fd, key, file);
        self.told(result, || key.into())
    }

    /// Sets an option to a path: as text, unless it is too long for that.
    pub fn path(&self, key: &str, path: &Path) -> Result<(), Error> {
        let text = path.as_os_str().as_bytes();
        if text.len() <= TEXT_MAX {
            return self.text(key, text);
        }
        self.file(key, open_path(path)?)
    }

    /// Makes the superblock.
    pub fn create(&self) -> Result<(), Error> {
        let result = fsconfig_create(&self.fd);
        self.told(result, || format!("{} refuses it", self.file_system))
    }

    /// Changes the superblock.
    pub fn reconfigure(&self) -> Result<(), Error> {
        let result = fsconfig_reconfigure(&self.fd);
        self.told(result, || {
            format!("{} refuses to change it", self.file_system)
        })
    }

    /// A mount of what was created, which is nowhere yet.
    pub fn mount(&self, attributes: MountAttrFlags) -> Result<OwnedFd, Error> {
        let result = fsmount(&self.fd, FsMountFlags::FSMOUNT_CLOEXEC, attributes);
        self.told(result, || {
            format!("cannot make a mount of {}", self.file_system)
        })
    }

    /// An error is what the file system says of it, or else that of `step`.
    fn told<T>(&self, result: io::Result<T>, step: impl FnOnce() -> String) -> Result<T, Error> {
        result.map_err(|errno| match self.messages() {
            Some(message) => Error::Refused { message, errno },
            None => Error::System {
                step: step(),
                errno,
            },
        })
    }

    /// The errors that have come since the last time; each read of the context returns one message.
    fn messages(&self) -> Option<String> {
        let mut all = Vec::new();
        let mut buffer = [0; 4096];
        while let Ok(len) = io::read(&self.fd, &mut buffer) {
            let line = String::from_utf8_lossy(&buffer[..len]).into_owned();
            let line = line.trim_end();
            if let Some(message) = line.strip_prefix("e ") {
                let own = format!("{}: ", self.file_system);
                all.push(message.strip_prefix(&own).unwrap_or(message).to_owned());
            }
        }
        (!all.is_empty()).then(|| all.join("; "))
    }
}

/// Opens a path, whatever it is, to be named by the descriptor.
pub fn open_path(path: &Path) -> Result<OwnedFd, Error> {
    open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
        .step(|| format!("cannot open {}", path.display()))
}

/// Puts a mount at `target`.
pub fn attach(mount: &OwnedFd, dir: impl AsFd, target: &Path) -> io::Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    move_mount(mount, "", dir, target, flags)
}
