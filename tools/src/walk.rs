// SPDX-License-Identifier: GPL-2.0-only
//! Making a tree from a directory, and objects from its files.
//!
//! One thread walks; it opens each file once, by name relative to its open directory and never
//! through a symbolic link. The others hash the files, and put them into the store.

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::rc::Rc;

use anyhow::{anyhow, Context, Result};
use rustix::fs::{Dir, Mode, OFlags, Stat};
use rustix::io::Errno;

use crate::fsverity::object_path;
use crate::hardlinks::HardLinks;
use crate::ingest::{self, Ingest};
use crate::progress::Progress;
use crate::quote;
use crate::store::Store;
use crate::tree::{FileType, Meta, NodeId, Time, Tree};
use crate::xattr::XattrList;

pub use crate::ingest::Options as ContentOptions;

/// Largest file that is put into the image whole: its redirect would take about as much.
pub const INLINE_SIZE: u64 = 64;

/// What of the source to take.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Take the epoch for every modification time.
    pub use_epoch: bool,
    /// Leave devices out.
    pub skip_devices: bool,
    /// Leave all xattrs out.
    pub skip_xattrs: bool,
    /// Leave xattrs out that do not begin with `user.`.
    pub user_xattrs: bool,
    /// Keep hard links, rather than make a file of its own of each.
    pub hard_links: bool,
}

/// Makes a tree from the directory at `source`. Large files go to `store`, if there is one.
///
/// # Errors
/// If something of the source cannot be read or described, changes while it is read, or the store
/// cannot take it. The message names the file.
pub fn walk(
    source: &Path,
    options: &Options,
    content: &ContentOptions,
    store: Option<&Store>,
) -> Result<Tree> {
    let mut walker = Walker {
        options,
        tree: Tree::new(),
        list: XattrList::default(),
        pending: Vec::new(),
        hard_links: HardLinks::default(),
    };
    let what = match store {
        Some(_) => "hashing and storing",
        None => "hashing",
    };
    let progress = Progress::new(what, None);
    let ingested = ingest::run(content, store, &progress, |ingest| {
        walker.run(source, ingest)
    });
    drop(progress);
    let mut tree = walker.tree;
    let results = match ingested {
        Ok(results) => results,
        Err(ingest::Failure { node, error }) => {
            let path = node.map_or_else(|| source.to_owned(), |id| join(source, &tree.path(id)));
            return Err(error).with_context(|| quote::path(&path).to_string());
        }
    };
    for done in results {
        tree.set_payload(done.node, object_path(&done.digest).as_bytes())?;
        tree.set_digest(done.node, &done.digest)?;
    }
    walker.hard_links.apply(&mut tree);
    Ok(tree)
}

fn join(source: &Path, path: &[u8]) -> std::path::PathBuf {
    use std::os::unix::ffi::OsStrExt;
    match path.strip_prefix(b"/") {
        Some(b"") | None => source.to_owned(),
        Some(relative) => source.join(std::ffi::OsStr::from_bytes(relative)),
    }
}

/// A directory that is yet to be read. It is not kept open: there may be very many.
struct Pending {
    id: NodeId,
    /// The directory that it is in; `None` for the root.
    parent: Option<Rc<OwnedFd>>,
    stat: Stat,
}

struct Walker<'a> {
    options: &'a Options,
    tree: Tree,
    list: XattrList,
    pending: Vec<Pending>,
    hard_links: HardLinks,
}

/// A file as it was opened.
struct Opened {
    fd: OwnedFd,
    stat: Stat,
    /// Whether it is open for reading, not merely as a place.
    readable: bool,
}

impl Walker<'_> {
    fn run(&mut self, source: &Path, ingest: &mut Ingest) -> ingest::Outcome {
        self.add_root(source)
            .map_err(|error| ingest::Failure { node: None, error })?;
        while let Some(pending) = self.pending.pop() {
            let dir = self.reopen(source, &pending);
            let dir = dir.map_err(|error| ingest::Failure {
                node: Some(pending.id),
                error,
            })?;
            self.read_dir(pending.id, &Rc::new(dir), ingest)?;
        }
        Ok(())
    }

    fn add_root(&mut self, source: &Path) -> Result<()> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::open(source, flags, Mode::empty())?;
        let stat = rustix::fs::fstat(&fd)?;
        let id = self.tree.add_root(self.meta(&stat)?)?;
        self.read_xattrs(id, fd.as_fd(), true)?;
        self.pending.push(Pending {
            id,
            parent: None,
            stat,
        });
        Ok(())
    }

    fn reopen(&self, source: &Path, pending: &Pending) -> Result<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let dir = match &pending.parent {
            Some(parent) => {
                let name = self.tree.name(pending.id);
                rustix::fs::openat(parent, name, flags, Mode::empty())?
            }
            None => rustix::fs::open(source, flags, Mode::empty())?,
        };
        let stat = rustix::fs::fstat(&dir)?;
        if (stat.st_dev, stat.st_ino) != (pending.stat.st_dev, pending.stat.st_ino) {
            return Err(anyhow!("changed while it was read"));
        }
        Ok(dir)
    }

    fn read_dir(
        &mut self,
        parent: NodeId,
        dir: &Rc<OwnedFd>,
        ingest: &mut Ingest,
    ) -> ingest::Outcome {
        let fail = |error: Errno| ingest::Failure {
            node: Some(parent),
            error: error.into(),
        };
        let mut entries = Dir::read_from(dir).map_err(fail)?;
        while let Some(entry) = entries.read() {
            let entry = entry.map_err(fail)?;
            let name = entry.file_name().to_bytes();
            if name == b"." || name == b".." {
                continue;
            }
            let mut id = None;
            let file = self
                .add(parent, dir, name, entry.file_type(), &mut id)
                .map_err(|error| match id {
                    Some(_) => ingest::Failure { node: id, error },
                    None => ingest::Failure {
                        node: Some(parent),
                        error: error.context(quote::bytes(name).to_string()),
                    },
                })?;
            if let (Some(id), Some((file, stat))) = (id, file) {
                ingest.submit(id, file, stat)?;
            }
        }
        Ok(())
    }

    /// Adds one directory entry; `id` tells its node as soon as there is one. Returns the file, if
    /// its content does not go into the image.
    fn add(
        &mut self,
        parent: NodeId,
        dir: &Rc<OwnedFd>,
        name: &[u8],
        hint: rustix::fs::FileType,
        id: &mut Option<NodeId>,
    ) -> Result<Option<(File, Stat)>> {
        let opened = open(dir.as_fd(), name, hint)?;
        let mut meta = self.meta(&opened.stat)?;
        let is_device = matches!(meta.file_type, FileType::BlockDevice | FileType::CharDevice);
        if self.options.skip_devices && is_device {
            return Ok(None);
        }
        let target = if meta.file_type == FileType::Symlink {
            let target = rustix::fs::readlinkat(&opened.fd, "", Vec::new())?.into_bytes();
            meta.size = target.len() as u64;
            Some(target)
        } else {
            None
        };
        let node = self.tree.add(parent, name, meta)?;
        *id = Some(node);
        if self.options.hard_links
            && !meta.is_dir()
            && self.hard_links.note(&self.tree, node, &opened.stat)?
        {
            return Ok(None);
        }
        self.read_xattrs(node, opened.fd.as_fd(), opened.readable)?;
        if let Some(target) = target {
            self.tree.set_payload(node, &target)?;
        }
        match meta.file_type {
            FileType::Directory => self.pending.push(Pending {
                id: node,
                parent: Some(Rc::clone(dir)),
                stat: opened.stat,
            }),
            FileType::Regular if meta.size > 0 => {
                if !opened.readable {
                    return Err(Errno::ACCESS.into());
                }
                let file = File::from(opened.fd);
                if meta.size > INLINE_SIZE {
                    return Ok(Some((file, opened.stat)));
                }
                let content = ingest::read_small(&file, &opened.stat)?;
                self.tree.set_content(node, &content)?;
            }
            _ => {}
        }
        Ok(None)
    }

    fn meta(&self, stat: &Stat) -> Result<Meta> {
        // One link: every name is a file of its own, until it turns out to be another name of one.
        let meta = Meta::from_mode(stat.st_mode).ok_or_else(|| anyhow!("is of an unknown type"))?;
        Ok(Meta {
            uid: stat.st_uid,
            gid: stat.st_gid,
            // The C library puts the kernel's 32 bits below everything else.
            rdev: stat.st_rdev as u32,
            size: stat.st_size as u64,
            mtime: if self.options.use_epoch {
                Time::default()
            } else {
                Time {
                    sec: stat.st_mtime,
                    nsec: stat.st_mtime_nsec as u32,
                }
            },
            ..meta
        })
    }

    fn read_xattrs(&mut self, id: NodeId, fd: BorrowedFd, readable: bool) -> Result<()> {
        if self.options.skip_xattrs {
            return Ok(());
        }
        // What is open as a place only has no xattrs of its own; its entry below /proc does.
        let place = format!("/proc/self/fd/{}", fd.as_raw_fd());
        let list = |buffer: &mut [u8]| match readable {
            true => rustix::fs::flistxattr(fd, buffer),
            false => rustix::fs::listxattr(&*place, buffer),
        };
        let names = match read_sized(list) {
            Ok(names) => names,
            // No xattrs on this filesystem.
            Err(Errno::OPNOTSUPP) => return Ok(()),
            Err(error) => return Err(error).context("cannot list xattrs"),
        };
        if names.is_empty() {
            return Ok(());
        }
        self.list.clear();
        for name in names.split(|&byte| byte == 0) {
            if name.is_empty() || self.options.user_xattrs && !name.starts_with(b"user.") {
                continue;
            }
            let get = |buffer: &mut [u8]| match readable {
                true => rustix::fs::fgetxattr(fd, name, buffer),
                false => rustix::fs::getxattr(&*place, name, buffer),
            };
            let cannot = || format!("cannot read xattr {}", quote::bytes(name));
            let value = read_sized(get).with_context(cannot)?;
            let list = &mut self.list;
            self.tree
                .collect_xattr(list, name, &value)
                .with_context(cannot)?;
        }
        self.tree.set_xattrs(id, &self.list)
    }
}

/// The most bytes that a list of attributes or a value has: `XATTR_LIST_MAX` and `XATTR_SIZE_MAX`.
const XATTR_MAX: usize = 65536;

/// Calls something that fills a buffer, with a small one first and with the largest if need be.
fn read_sized(mut fill: impl FnMut(&mut [u8]) -> Result<usize, Errno>) -> Result<Vec<u8>, Errno> {
    let mut buffer = vec![0; 256];
    let mut result = fill(&mut buffer);
    if result == Err(Errno::RANGE) {
        buffer.resize(XATTR_MAX, 0);
        result = fill(&mut buffer);
    }
    buffer.truncate(result?);
    Ok(buffer)
}

/// Opens a directory entry, whatever it is, without side effects.
fn open(dir: BorrowedFd, name: &[u8], hint: rustix::fs::FileType) -> Result<Opened> {
    use rustix::fs::FileType::{self, Directory, RegularFile};
    let flags = OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut opened = None;
    // Opening anything else can block, rewind a tape, or worse. A file that becomes something
    // else between reading the directory and here must not block either.
    if matches!(hint, RegularFile | Directory) {
        let flags = flags | OFlags::RDONLY | OFlags::NONBLOCK;
        match rustix::fs::openat(dir, name, flags, Mode::empty()) {
            Ok(fd) => opened = Some(fd),
            // Empty files need not be readable, nor do those that are not what they were.
            Err(Errno::ACCESS | Errno::LOOP | Errno::NXIO) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let readable = opened.is_some();
    let fd = match opened {
        Some(fd) => fd,
        None => rustix::fs::openat(dir, name, flags | OFlags::PATH, Mode::empty())?,
    };
    let stat = rustix::fs::fstat(&fd)?;
    let found = FileType::from_raw_mode(stat.st_mode);
    if !readable && matches!(found, Directory | RegularFile) && hint != RegularFile {
        if hint == Directory {
            return Err(Errno::ACCESS.into());
        }
        // The filesystem does not tell types when listing; now it is known.
        return open(dir, name, found);
    }
    Ok(Opened { fd, stat, readable })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_read_again() {
        for (len, calls) in [(0, 1), (256, 1), (257, 2), (XATTR_MAX, 2)] {
            let value: Vec<_> = (0..len).map(|at| (at >> 3) as u8).collect();
            let mut called = 0;
            let read = read_sized(|buffer| {
                called += 1;
                let room = buffer.get_mut(..len).ok_or(Errno::RANGE)?;
                room.copy_from_slice(&value);
                Ok(len)
            });
            assert_eq!(read, Ok(value));
            assert_eq!(called, calls, "{len}");
        }
        assert_eq!(read_sized(|_| Err(Errno::ACCESS)), Err(Errno::ACCESS));
    }
}
