// SPDX-License-Identifier: GPL-2.0-only
//! Layers on top of each other.
//!
//! The rules are those of composefs-rs, entry by entry in the order of the archive, so that both get
//! the same image: a whiteout takes away what is there at that moment, also what the same layer
//! brought.

use std::collections::BTreeMap;

use anyhow::{anyhow, bail, ensure, Result};
use composefs_tools::quote;
use composefs_tools::tree::{FileType, Meta};

use crate::entry::{Content, Entry};

/// What the name of a whiteout begins with.
const WHITEOUT: &[u8] = b".wh.";
/// The whiteout of all that is in a directory.
const OPAQUE: &[u8] = b".wh..wh..opq";
/// What directories have that an archive does not mention.
const PERMISSIONS: u16 = 0o755;

/// Longest path that a kernel looks up.
const PATH_MAX: usize = 4095;
/// What inodes, their names and what they hold may take in memory: that of some four million.
const MEMORY_MAX: usize = 1 << 30;
/// What a name takes besides its bytes, and a directory for the first of them.
const NAME_SIZE: usize = 96;
const DIRECTORY_SIZE: usize = 384;

/// Number of an inode.
pub type Id = usize;
/// The root.
pub const ROOT: Id = 0;

/// Extended attributes: names and values.
pub type Xattrs = Vec<(Vec<u8>, Vec<u8>)>;

/// A file, under any number of names.
#[derive(Debug)]
pub struct Inode {
    /// What `stat` says.
    pub meta: Meta,
    /// Its extended attributes.
    pub xattrs: Xattrs,
    /// What it holds.
    pub body: Body,
}

/// What a file holds.
#[derive(Debug)]
pub enum Body {
    /// Names, and what they are of.
    Directory(BTreeMap<Vec<u8>, Id>),
    /// Anything else.
    Other(Content),
}

/// A file system.
#[derive(Debug)]
pub struct Merged {
    inodes: Vec<Inode>,
    /// What was added up to now takes about so many bytes.
    memory: usize,
}

impl Default for Merged {
    fn default() -> Self {
        Self {
            inodes: vec![directory(
                Meta::new(FileType::Directory, PERMISSIONS),
                Vec::new(),
            )],
            memory: 0,
        }
    }
}

/// What an inode takes besides what it holds.
fn inode_size(is_dir: bool) -> usize {
    size_of::<Inode>() + if is_dir { DIRECTORY_SIZE } else { 0 }
}

fn directory(meta: Meta, xattrs: Xattrs) -> Inode {
    Inode {
        meta,
        xattrs,
        body: Body::Directory(BTreeMap::new()),
    }
}

impl Merged {
    /// An inode.
    pub fn inode(&self, id: Id) -> Option<&Inode> {
        self.inodes.get(id)
    }

    /// The same, to be changed.
    pub fn inode_mut(&mut self, id: Id) -> Option<&mut Inode> {
        self.inodes.get_mut(id)
    }

    /// What is in a directory; `None` if it is none.
    pub fn names(&self, id: Id) -> Option<&BTreeMap<Vec<u8>, Id>> {
        match &self.inode(id)?.body {
            Body::Directory(names) => Some(names),
            Body::Other(_) => None,
        }
    }

    /// The same, to be changed.
    pub fn names_mut(&mut self, id: Id) -> Option<&mut BTreeMap<Vec<u8>, Id>> {
        match &mut self.inode_mut(id)?.body {
            Body::Directory(names) => Some(names),
            Body::Other(_) => None,
        }
    }

    /// Adds an entry of a layer.
    ///
    /// # Errors
    /// If there is no place for it.
    pub fn apply(&mut self, mut entry: Entry) -> Result<()> {
        let path = std::mem::take(&mut entry.path);
        let path = components(&path)?;
        let Some((&name, parents)) = path.split_last() else {
            ensure!(entry.meta.is_dir(), "is the root, which is a directory");
            if let Some(root) = self.inode_mut(ROOT) {
                (root.meta, root.xattrs) = (entry.meta, entry.xattrs);
            }
            return Ok(());
        };
        let linked = match &entry.content {
            Content::Link(target) => Some(self.linked(target)?),
            _ => None,
        };
        let parent = self.make_directories(parents)?;
        if let Some(hidden) = name.strip_prefix(WHITEOUT) {
            if let Some(names) = self.names_mut(parent) {
                match name == OPAQUE {
                    true => names.clear(),
                    false => drop(names.remove(hidden)),
                }
            }
            return Ok(());
        }
        let old = self
            .names(parent)
            .and_then(|names| names.get(name))
            .copied();
        if let Some(old) = old.filter(|_| entry.meta.is_dir()) {
            if let Some(old) = self.inode_mut(old).filter(|old| old.meta.is_dir()) {
                (old.meta, old.xattrs) = (entry.meta, entry.xattrs);
                return Ok(());
            }
        }
        let id = match linked {
            Some(id) => id,
            None => self.push(entry)?,
        };
        self.count(NAME_SIZE.saturating_add(name.len()))?;
        if let Some(names) = self.names_mut(parent) {
            names.insert(name.to_vec(), id);
        }
        Ok(())
    }

    /// Refuses what would take more memory than there may be.
    fn count(&mut self, bytes: usize) -> Result<()> {
        self.memory = self.memory.saturating_add(bytes);
        ensure!(
            self.memory <= MEMORY_MAX,
            "is one too many: the image takes more than {MEMORY_MAX} bytes of memory"
        );
        Ok(())
    }

    fn push(&mut self, entry: Entry) -> Result<Id> {
        self.count(inode_size(entry.meta.is_dir()).saturating_add(entry.size()))?;
        let id = self.inodes.len();
        self.inodes.push(match entry.meta.is_dir() {
            true => directory(entry.meta, entry.xattrs),
            false => Inode {
                meta: entry.meta,
                xattrs: entry.xattrs,
                body: Body::Other(entry.content),
            },
        });
        Ok(id)
    }

    /// What a hard link is to be another name of.
    fn linked(&self, target: &[u8]) -> Result<Id> {
        let path = components(target)?;
        let mut id = ROOT;
        for name in path {
            let next = self.names(id).and_then(|names| names.get(name));
            let missing = || {
                anyhow!(
                    "is a hard link to {}, which is not there",
                    quote::bytes(target)
                )
            };
            id = *next.ok_or_else(missing)?;
        }
        if self.names(id).is_some() {
            bail!(
                "is a hard link to {}, which is a directory",
                quote::bytes(target)
            );
        }
        Ok(id)
    }

    /// The directory at a path. Those that nobody mentioned are made.
    fn make_directories(&mut self, path: &[&[u8]]) -> Result<Id> {
        let mut id = ROOT;
        for &name in path {
            let next = self.inodes.len();
            if self
                .names(id)
                .is_some_and(|names| !names.contains_key(name))
            {
                self.count(NAME_SIZE.saturating_add(name.len()))?;
                self.count(inode_size(true))?;
            }
            let Some(names) = self.names_mut(id) else {
                bail!("is in what is not a directory");
            };
            id = *names.entry(name.to_vec()).or_insert(next);
            if id == next {
                let meta = Meta::new(FileType::Directory, PERMISSIONS);
                self.inodes.push(directory(meta, Vec::new()));
            }
        }
        ensure!(self.names(id).is_some(), "is in what is not a directory");
        Ok(id)
    }
}

/// The names that a path consists of.
fn components(path: &[u8]) -> Result<Vec<&[u8]>> {
    ensure!(
        path.len() <= PATH_MAX,
        "has a path of {} bytes, more than {PATH_MAX}",
        path.len()
    );
    let mut names = Vec::new();
    for name in path.split(|&byte| byte == b'/') {
        match name {
            b"" | b"." => {}
            b".." => bail!("has '..' in its path"),
            name if name.contains(&0) => bail!("has a NUL in its path"),
            name => names.push(name),
        }
    }
    Ok(names)
}
