// SPDX-License-Identifier: GPL-2.0-only
//! Everything that system calls tell about the files of a tree, as text, to be compared between
//! two filesystems.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsStr;
use std::fmt::Debug;
use std::fs::{self, File};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use anyhow::{Context, Result};
use rustix::fs::{
    access, ioctl_getflags, lgetxattr, lgetxattr_query, llistxattr, llistxattr_query, seek, statx,
    Access, AtFlags, Dir, FileType, SeekFrom, StatxFlags, StatxTimestamp, CWD,
};
use rustix::io::Errno;

use crate::attributes::{content_hash, xattrs};
use crate::tree::display;

/// What was seen, by the name of the observation.
pub type Facts = BTreeMap<String, String>;

/// Facts by path relative to the root, which is the empty path.
pub type Observations = BTreeMap<Vec<u8>, Facts>;

/// xattrs that are asked for by name on every file, whether they are listed or not.
const PROBED: [&str; 22] = [
    "user.missing",
    "trusted.missing",
    "security.capability",
    "security.missing",
    "system.posix_acl_access",
    "system.posix_acl_default",
    "system.missing",
    "nonsense",
    "trusted.overlay.",
    "trusted.overlay.opaque",
    "trusted.overlay.redirect",
    "trusted.overlay.metacopy",
    "trusted.overlay.origin",
    "trusted.overlay.whiteout",
    "trusted.overlay.whiteouts",
    "trusted.overlay.custom",
    "trusted.overlay.overlay.opaque",
    "trusted.overlay.overlay.custom",
    "user.overlay.opaque",
    "user.overlay.whiteout",
    "user.overlay.custom",
    "user.overlay.overlay.whiteout",
];

/// Observes the whole tree below `root`.
pub fn observe(root: &Path) -> Result<Observations> {
    let mut seen = Observations::new();
    let mut names: HashMap<(u32, u32, u64), Vec<Vec<u8>>> = HashMap::new();
    let mut paths = vec![Vec::new()];
    while let Some(path) = paths.pop() {
        let full = match path.as_slice() {
            [] => root.to_owned(),
            path => root.join(OsStr::from_bytes(path)),
        };
        let mut facts = Facts::new();
        let (kind, inode) =
            attributes(&full, &mut facts).with_context(|| full.display().to_string())?;
        extended_attributes(&full, &mut facts);
        match kind {
            FileType::RegularFile => content(&full, &mut facts),
            FileType::Symlink => {
                let target = fs::read_link(&full).map_err(errno);
                let target = target.map(|target| display(&target.into_os_string().into_vec()));
                note(&mut facts, "target", target);
            }
            FileType::Directory => {
                for name in listing(&full, &mut facts) {
                    let mut child = path.clone();
                    if !child.is_empty() {
                        child.push(b'/');
                    }
                    child.extend(name);
                    paths.push(child);
                }
            }
            _ => {}
        }
        if kind != FileType::Directory {
            names.entry(inode).or_default().push(path.clone());
        }
        seen.insert(path, facts);
    }
    for mut group in names.into_values() {
        group.sort();
        for path in &group {
            if let Some(facts) = seen.get_mut(path) {
                let text: Vec<_> = group.iter().map(|path| display(path)).collect();
                facts.insert("names of the inode".into(), text.join(" "));
            }
        }
    }
    Ok(seen)
}

fn note<T: Debug>(facts: &mut Facts, name: &str, value: rustix::io::Result<T>) {
    let text = match value {
        Ok(value) => format!("{value:?}"),
        Err(errno) => error_name(errno),
    };
    facts.insert(name.into(), text);
}

/// The name of the errors that are met here, the number of others.
fn error_name(errno: Errno) -> String {
    let name = match errno {
        Errno::ACCESS => "EACCES",
        Errno::INVAL => "EINVAL",
        Errno::IO => "EIO",
        Errno::NODATA => "ENODATA",
        Errno::NOENT => "ENOENT",
        Errno::NOTTY => "ENOTTY",
        Errno::NXIO => "ENXIO",
        Errno::OPNOTSUPP => "EOPNOTSUPP",
        Errno::RANGE => "ERANGE",
        Errno::ROFS => "EROFS",
        _ => return format!("errno {}", errno.raw_os_error()),
    };
    name.to_owned()
}

/// The system's error; other kinds do not come from system calls.
fn errno(error: std::io::Error) -> Errno {
    Errno::from_io_error(&error).unwrap_or(Errno::NOTSUP)
}

type Inode = (u32, u32, u64);

fn attributes(path: &Path, facts: &mut Facts) -> Result<(FileType, Inode)> {
    let flags = AtFlags::SYMLINK_NOFOLLOW;
    let wanted = StatxFlags::BASIC_STATS | StatxFlags::BTIME;
    let stat = statx(CWD, path, flags, wanted)?;
    let mut set = |name: &str, value: String| facts.insert(name.into(), value);
    let time = |time: StatxTimestamp| format!("{}.{:09}", time.tv_sec, time.tv_nsec);
    set("mode", format!("{:06o}", stat.stx_mode));
    set("uid", stat.stx_uid.to_string());
    set("gid", stat.stx_gid.to_string());
    set("size", stat.stx_size.to_string());
    set("atime", time(stat.stx_atime));
    set("mtime", time(stat.stx_mtime));
    set("ctime", time(stat.stx_ctime));
    set("nlink", stat.stx_nlink.to_string());
    set("blocks", stat.stx_blocks.to_string());
    set("block size", stat.stx_blksize.to_string());
    set(
        "rdev",
        format!("{}:{}", stat.stx_rdev_major, stat.stx_rdev_minor),
    );
    set(
        "statx mask",
        format!("{:#x}", stat.stx_mask & wanted.bits()),
    );
    set(
        "statx attributes",
        format!("{:#x}", stat.stx_attributes.bits()),
    );
    for (name, mode) in [
        ("readable", Access::READ_OK),
        ("writable", Access::WRITE_OK),
        ("executable", Access::EXEC_OK),
    ] {
        note(facts, name, access(path, mode));
    }
    let inode = (stat.stx_dev_major, stat.stx_dev_minor, stat.stx_ino);
    let kind = FileType::from_raw_mode(stat.stx_mode.into());
    Ok((kind, inode))
}

fn extended_attributes(path: &Path, facts: &mut Facts) {
    match xattrs(path) {
        Ok(values) => {
            for (name, value) in &values {
                let name = display(name);
                facts.insert(
                    format!("xattr {name}"),
                    format!("\"{}\"", value.escape_ascii()),
                );
                note(
                    facts,
                    &format!("size of xattr {name}"),
                    lgetxattr_query(path, name.as_str()),
                );
                note(
                    facts,
                    &format!("xattr {name} in too small a buffer"),
                    lgetxattr(path, name.as_str(), &mut [0; 1][..value.len().min(1)]),
                );
            }
        }
        Err(error) => drop(facts.insert("xattrs".into(), error_name(error))),
    }
    note(facts, "size of the xattr list", llistxattr_query(path));
    note(
        facts,
        "xattr list in too small a buffer",
        llistxattr(path, &mut [0; 1]),
    );
    for name in PROBED {
        let mut value = [0; 1024];
        let length = lgetxattr(path, name, &mut value);
        let value = length.map(|length| value.get(..length).map(<[u8]>::to_vec));
        note(facts, &format!("probed {name}"), value);
    }
}

fn content(path: &Path, facts: &mut Facts) {
    note(facts, "content", content_hash(path).map_err(errno));
    let Ok(file) = File::open(path) else { return };
    note(facts, "flags", ioctl_getflags(&file));
    for (name, from) in [
        ("data from 0", SeekFrom::Data(0)),
        ("hole from 0", SeekFrom::Hole(0)),
        ("data from 1 MiB", SeekFrom::Data(1 << 20)),
        ("hole from 1 MiB", SeekFrom::Hole(1 << 20)),
        ("end", SeekFrom::End(0)),
    ] {
        note(facts, name, seek(&file, from));
    }
}

/// Notes what readdir says, and returns the names.
fn listing(path: &Path, facts: &mut Facts) -> Vec<Vec<u8>> {
    let mut names = Vec::new();
    let directory = File::open(path).map_err(|_| ()).and_then(|directory| {
        note(facts, "flags", ioctl_getflags(&directory));
        Dir::read_from(directory).map_err(|_| ())
    });
    let Ok(directory) = directory else {
        facts.insert("listing".into(), "cannot be opened".into());
        return names;
    };
    let mut count = 0;
    for entry in directory {
        count += 1;
        match entry {
            Ok(entry) => {
                let name = entry.file_name().to_bytes();
                note(
                    facts,
                    &format!("listed {}", display(name)),
                    Ok(entry.file_type()),
                );
                if name != b"." && name != b".." {
                    names.push(name.to_vec());
                }
            }
            Err(error) => drop(facts.insert("listing".into(), error_name(error))),
        }
    }
    facts.insert("entries listed".into(), count.to_string());
    names
}
