// SPDX-License-Identifier: GPL-2.0-only
//! From files to nodes.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::rc::Rc;

use composefs_format::Algorithm;
use composefs_tools::fsverity::{object_path, Digest};
use composefs_tools::tree::FileType;
use rustix::fs::{
    getxattr, getxattr_query, listxattr, listxattr_query, openat, readlinkat, statat, AtFlags, Dir,
    Mode, OFlags,
};
use rustix::io::Errno;

use crate::node::{Node, Stat};
use crate::verity;

/// What is taken of files.
#[derive(Clone, Copy)]
pub struct Flags(pub u32);

impl Flags {
    const SKIP_XATTRS: u32 = 1 << 0;
    const USE_EPOCH: u32 = 1 << 1;
    const SKIP_DEVICES: u32 = 1 << 2;
    const COMPUTE_DIGEST: u32 = 1 << 3;
    const NO_INLINE: u32 = 1 << 4;
    const USER_XATTRS: u32 = 1 << 5;
    const BY_DIGEST: u32 = 1 << 6;
    const ALL: u32 = (1 << 7) - 1;

    fn has(self, flag: u32) -> bool {
        self.0 & flag != 0
    }

    fn check(self) -> Result<(), Errno> {
        if self.0 & !Self::ALL != 0 || self.has(Self::SKIP_XATTRS) && self.has(Self::USER_XATTRS) {
            return Err(Errno::INVAL);
        }
        Ok(())
    }
}

/// Larger files are better off in a store.
const INLINE_MAX: u64 = 64;

/// A node of the file `name`, which is not followed if it is a symlink.
///
/// # Errors
/// [`Errno::INVAL`] for flags that there are not; those of reading the file.
pub fn file(dir: BorrowedFd, name: &CStr, flags: Flags) -> Result<Rc<Node>, Errno> {
    flags.check()?;
    let found = statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)?;
    let node = Node::new();
    let (mtime_sec, mtime_nsec) = match flags.has(Flags::USE_EPOCH) {
        true => (0, 0),
        false => (found.st_mtime, found.st_mtime_nsec as u32),
    };
    node.change(|stat| {
        *stat = Stat {
            mode: found.st_mode,
            nlink: 1,
            uid: found.st_uid,
            gid: found.st_gid,
            size: found.st_size as u64,
            mtime_sec,
            mtime_nsec,
            rdev: found.st_rdev as u32,
        }
    });
    match node.file_type() {
        Some(FileType::Regular) => set_from_content(&node, dir, name, flags)?,
        Some(FileType::Symlink) => node.set_target(Some(&readlinkat(dir, name, Vec::new())?))?,
        _ => {}
    }
    if !flags.has(Flags::SKIP_XATTRS) {
        read_xattrs(&node, dir, name, flags)?;
    }
    Ok(node)
}

/// Gives a node of a regular file what its content says of it.
///
/// # Errors
/// Those of reading the file.
pub fn set_from_content(
    node: &Node,
    dir: BorrowedFd,
    name: &CStr,
    flags: Flags,
) -> Result<(), Errno> {
    let size = node.stat().size;
    let needs_digest = flags.has(Flags::COMPUTE_DIGEST) || flags.has(Flags::BY_DIGEST);
    let is_inline = size <= INLINE_MAX && !flags.has(Flags::NO_INLINE);
    if size == 0 || !needs_digest && !is_inline {
        return Ok(());
    }
    let file = openat(dir, name, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    if needs_digest {
        let bytes = verity::of_file(file.as_fd())?;
        if flags.has(Flags::BY_DIGEST) {
            let digest = Digest::from_bytes(Algorithm::Sha256, &bytes).ok_or(Errno::INVAL)?;
            let path = CString::new(object_path(&digest)).map_err(|_| Errno::INVAL)?;
            node.set_payload(Some(&path))?;
        }
        if flags.has(Flags::COMPUTE_DIGEST) {
            node.set_digest(Some(bytes));
        }
    }
    if is_inline {
        let mut content = vec![0; size as usize];
        read_exact(&file, &mut content)?;
        node.set_content(&content)?;
    }
    Ok(())
}

fn read_exact(file: &OwnedFd, mut buffer: &mut [u8]) -> Result<(), Errno> {
    let mut offset = 0;
    while !buffer.is_empty() {
        match rustix::io::pread(file, &mut *buffer, offset) {
            Err(Errno::INTR) => {}
            Ok(0) => return Err(Errno::NODATA),
            Ok(len) => {
                offset += len as u64;
                buffer = &mut buffer[len..];
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn read_xattrs(node: &Node, dir: BorrowedFd, name: &CStr, flags: Flags) -> Result<(), Errno> {
    let path = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = openat(dir, name, path, Mode::empty())?;
    let file = format!("/proc/self/fd/{}", file.as_raw_fd());

    let mut names = vec![0; listxattr_query(&*file)?];
    let len = listxattr(&*file, &mut names)?;
    names.truncate(len);
    for name in names.split_inclusive(|&byte| byte == 0) {
        let name = CStr::from_bytes_with_nul(name).map_err(|_| Errno::INVAL)?;
        if flags.has(Flags::USER_XATTRS) && !name.to_bytes().starts_with(b"user.") {
            continue;
        }
        let mut value = vec![0; getxattr_query(&*file, name)?];
        let len = getxattr(&*file, name, &mut value)?;
        value.truncate(len);
        node.set_xattr(name, &value)?;
    }
    Ok(())
}

/// Why a tree cannot be made: the error, and the path of what it is about.
pub struct Failure {
    pub errno: Errno,
    pub path: PathBuf,
}

/// A node of the file `name`, with all that is below it.
///
/// # Errors
/// Those of [`file()`]; those of reading a directory.
pub fn tree(dir: BorrowedFd, name: &CStr, flags: Flags) -> Result<Rc<Node>, Failure> {
    let path = || PathBuf::from(std::ffi::OsStr::from_bytes(name.to_bytes()));
    let at_path = |errno| Failure {
        errno,
        path: path(),
    };
    let node = file(dir, name, flags).map_err(at_path)?;
    if !node.is_dir() {
        return Ok(node);
    }
    let open = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let directory = openat(dir, name, open, Mode::empty()).map_err(at_path)?;
    for entry in Dir::read_from(&directory).map_err(at_path)? {
        let entry = entry.map_err(at_path)?;
        let below = entry.file_name();
        if matches!(below.to_bytes(), b"." | b"..") {
            continue;
        }
        let child = tree(directory.as_fd(), below, flags).map_err(|failure| Failure {
            errno: failure.errno,
            path: path().join(failure.path),
        })?;
        let is_device = matches!(
            child.file_type(),
            Some(FileType::CharDevice | FileType::BlockDevice)
        );
        if is_device && flags.has(Flags::SKIP_DEVICES) {
            continue;
        }
        node.add(child, below).map_err(at_path)?;
    }
    Ok(node)
}
