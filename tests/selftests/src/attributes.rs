// SPDX-License-Identifier: GPL-2.0-only
//! What can be observed of one file: attributes, xattrs, content.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::io::Errno;
use xxhash_rust::xxh3::Xxh3;

/// The attributes that a composefs image stores.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attributes {
    /// Type and permissions, as in `st_mode`.
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    /// Bytes; 0 for directories, whose size is a matter of the filesystem.
    pub size: u64,
    /// Seconds and nanoseconds.
    pub mtime: (i64, i64),
    /// The device that a device file stands for, else 0.
    pub rdev: u64,
}

impl Attributes {
    pub fn of(metadata: &Metadata) -> Self {
        let is_device = matches!(metadata.mode() & 0o170_000, 0o020_000 | 0o060_000);
        Self {
            mode: metadata.mode(),
            uid: metadata.uid(),
            gid: metadata.gid(),
            size: if metadata.is_dir() {
                0
            } else {
                metadata.size()
            },
            mtime: (metadata.mtime(), metadata.mtime_nsec()),
            rdev: if is_device { metadata.rdev() } else { 0 },
        }
    }

    /// What differs, as "mode: 100644, 100600; size: …"; empty if nothing does.
    pub fn differences(&self, other: &Self) -> String {
        let mut text = String::new();
        let mut note = |name: &str, a: String, b: String| {
            if a != b {
                let separator = if text.is_empty() { "" } else { "; " };
                // Writing to a String does not fail.
                let _ = write!(text, "{separator}{name}: {a}, {b}");
            }
        };
        let time = |(seconds, nanoseconds)| format!("{seconds}.{nanoseconds:09}");
        let octal = |mode| format!("{mode:06o}");
        note("mode", octal(self.mode), octal(other.mode));
        note("uid", self.uid.to_string(), other.uid.to_string());
        note("gid", self.gid.to_string(), other.gid.to_string());
        note("size", self.size.to_string(), other.size.to_string());
        note("mtime", time(self.mtime), time(other.mtime));
        note(
            "rdev",
            format!("{:#x}", self.rdev),
            format!("{:#x}", other.rdev),
        );
        text
    }
}

/// Names and values.
pub type Xattrs = BTreeMap<Vec<u8>, Vec<u8>>;

/// Every xattr of the file itself (not of what a symlink points to).
pub fn xattrs(path: &Path) -> rustix::io::Result<Xattrs> {
    let list = match with_room(|buffer| rustix::fs::llistxattr(path, buffer)) {
        Err(Errno::OPNOTSUPP) => return Ok(Xattrs::new()),
        list => list?,
    };
    let names = list
        .split(|byte| *byte == 0)
        .filter(|name| !name.is_empty());
    names
        .map(|name| {
            let value = with_room(|buffer| rustix::fs::lgetxattr(path, name, buffer))?;
            Ok((name.to_vec(), value))
        })
        .collect()
}

/// Calls with a buffer that is nearly always large enough, else with the largest that is ever used.
fn with_room(call: impl Fn(&mut [u8]) -> rustix::io::Result<usize>) -> rustix::io::Result<Vec<u8>> {
    let mut buffer = vec![0; 1024];
    let length = match call(&mut buffer) {
        Err(Errno::RANGE) => {
            buffer = vec![0; 65536];
            call(&mut buffer)?
        }
        result => result?,
    };
    buffer.truncate(length);
    Ok(buffer)
}

/// A hash of the whole content, read in order. Not cryptographic: it is to tell apart what differs
/// by accident, and reading under emulation is slow enough.
pub fn content_hash(path: &Path) -> io::Result<u128> {
    let mut file = File::open(path)?;
    let mut hash = Xxh3::new();
    let mut buffer = vec![0; 128 * 1024];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hash.digest128()),
            length => hash.update(buffer.get(..length).unwrap_or_default()),
        }
    }
}
