// SPDX-License-Identifier: GPL-2.0-only
//! Directories that are open, and mounts that are nowhere yet.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{openat2, Mode, OFlags, ResolveFlags, CWD};
use rustix::io::{Errno, Result};
use rustix::mount::{move_mount, open_tree, MoveMountFlags, OpenTreeFlags};

/// The directory `path`, with what is mounted there.
pub fn at(path: &Path) -> Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty())
}

/// The directory `path` below `dir`, which its symlinks do not leave.
pub fn open(dir: impl AsFd, path: impl AsRef<Path>) -> Result<OwnedFd> {
    beneath(dir, path, OFlags::PATH | OFlags::DIRECTORY)
}

/// The file `path` below `dir`, to be read; symlinks do not leave `dir`.
pub fn open_file(dir: impl AsFd, path: impl AsRef<Path>) -> Result<OwnedFd> {
    beneath(
        dir,
        path,
        OFlags::RDONLY | OFlags::NOCTTY | OFlags::NONBLOCK,
    )
}

fn beneath(dir: impl AsFd, path: impl AsRef<Path>, flags: OFlags) -> Result<OwnedFd> {
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    openat2(
        dir,
        path.as_ref(),
        flags | OFlags::CLOEXEC,
        Mode::empty(),
        resolve,
    )
}

/// The directory `name` in `dir`, which is made if need be.
pub fn make(dir: impl AsFd, name: &str, mode: u32) -> Result<OwnedFd> {
    match rustix::fs::mkdirat(&dir, name, Mode::from_raw_mode(mode)) {
        Ok(()) | Err(Errno::EXIST) => open(dir, name),
        Err(error) => Err(error),
    }
}

/// A path to what is open, as long as it is.
pub fn path(file: &impl AsRawFd) -> PathBuf {
    format!("/proc/self/fd/{}", file.as_raw_fd()).into()
}

/// What is mounted at `path`, and all that is mounted below it, once more.
pub fn clone(path: &Path) -> Result<OwnedFd> {
    open_tree(CWD, path, clone_flags() | OpenTreeFlags::AT_RECURSIVE)
}

/// The tree below `dir`, to be mounted elsewhere.
pub fn clone_of(dir: impl AsFd) -> Result<OwnedFd> {
    open_tree(dir, "", clone_flags() | OpenTreeFlags::AT_EMPTY_PATH)
}

fn clone_flags() -> OpenTreeFlags {
    OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC
}

/// Puts a mount on the directory `place`.
pub fn attach(mount: impl AsFd, place: impl AsFd) -> Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(mount, "", place, "", flags)
}
