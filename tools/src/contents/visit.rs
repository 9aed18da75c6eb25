// SPDX-License-Identifier: GPL-2.0-only
//! Going through all entries of an image, in the order of their paths.

use std::collections::HashMap;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;

use anyhow::{anyhow, Context, Result};
use composefs_format::disk::{BLOCK_SIZE, SLOT_SIZE};
use composefs_format::{FileType, Inode, Node};

use crate::contents::Opened;
use crate::contents::Record;
use crate::quote;

/// Which entries of the root directory to look at.
#[derive(Debug)]
pub struct Filter<'a> {
    /// `None` lets all of them pass.
    names: Option<Vec<&'a [u8]>>,
}

impl<'a> Filter<'a> {
    /// A filter of these names; none mean that everything is looked at.
    ///
    /// # Errors
    /// If one is not a name but a path.
    pub fn new(names: &'a [OsString]) -> Result<Self> {
        let names: Vec<_> = names.iter().map(|name| name.as_bytes()).collect();
        match names.iter().find(|name| name.contains(&b'/')) {
            Some(name) => Err(anyhow!(
                "filter {} is not a single name",
                quote::bytes(name)
            )),
            None => Ok(Self {
                names: (!names.is_empty()).then_some(names),
            }),
        }
    }

    /// None: everything is looked at.
    pub fn none() -> Self {
        Self { names: None }
    }

    /// A filter of these names, which lets nothing pass if there are none.
    pub fn only(names: Vec<&'a [u8]>) -> Self {
        Self { names: Some(names) }
    }

    fn passes(&self, name: &[u8]) -> bool {
        self.names
            .as_ref()
            .is_none_or(|names| names.contains(&name))
    }
}

/// One name in an image.
pub struct Entry<'a> {
    /// Absolute path; empty for the root.
    pub path: &'a [u8],
    /// What the name stands for; of another file, if this is a hard link and those are not read.
    pub record: &'a Record,
    /// If the file has a name that came earlier: the path of that.
    pub hard_link: Option<&'a [u8]>,
    /// Whether it has several names, of which this is one.
    pub is_linked: bool,
}

/// Calls `visit` for every entry, the root included, a directory before what is in it. Of hard
/// links, the record is read only with `read_links`.
///
/// The image is read and checked as a whole before the first call.
///
/// # Errors
/// If the image is damaged; those of `visit`.
pub fn visit(
    image: &Opened,
    filter: &Filter,
    read_links: bool,
    visit: &mut dyn FnMut(&Entry) -> Result<()>,
) -> Result<()> {
    let mut seen = Seen::new(image);
    traverse(image, filter, &mut |path, inode, record| {
        let new = seen.insert(inode.node.nid());
        if new {
            record.read(image, inode, path.is_empty())?;
        }
        Ok(new)
    })?;
    let Seen { again: linked, .. } = seen;
    let mut first_paths: HashMap<u64, Vec<u8>> = HashMap::new();
    traverse(image, filter, &mut |path, inode, record| {
        let nid = inode.node.nid();
        let hard_link = match linked.contains(nid) {
            false => None,
            true => first_paths.get(&nid).map(Vec::as_slice),
        };
        if read_links || hard_link.is_none() {
            record.read(image, inode, path.is_empty())?;
        }
        visit(&Entry {
            path,
            record,
            hard_link,
            is_linked: linked.contains(nid),
        })?;
        let first = hard_link.is_none();
        if first && linked.contains(nid) {
            first_paths.insert(nid, path.to_vec());
        }
        Ok(first)
    })
}

/// A set of inode numbers of one image.
struct NidSet {
    bits: Vec<u64>,
}

impl NidSet {
    fn new(image: &Opened) -> Self {
        // The parser lets no inode through that lies outside the blocks.
        let slots = u64::from(image.superblock().blocks()) * BLOCK_SIZE / SLOT_SIZE;
        Self {
            bits: vec![0; slots.div_ceil(64) as usize],
        }
    }

    fn place(nid: u64) -> (usize, u64) {
        ((nid / 64) as usize, 1 << (nid % 64))
    }

    fn contains(&self, nid: u64) -> bool {
        let (index, bit) = Self::place(nid);
        self.bits.get(index).is_some_and(|word| word & bit != 0)
    }

    /// Returns whether it was new.
    fn insert(&mut self, nid: u64) -> bool {
        let (index, bit) = Self::place(nid);
        let new = !self.contains(nid);
        if let Some(word) = self.bits.get_mut(index) {
            *word |= bit;
        }
        new
    }
}

/// The inodes that were come across, and those that were more than once.
struct Seen {
    once: NidSet,
    again: NidSet,
}

impl Seen {
    fn new(image: &Opened) -> Self {
        Self {
            once: NidSet::new(image),
            again: NidSet::new(image),
        }
    }

    fn insert(&mut self, nid: u64) -> bool {
        let new = self.once.insert(nid);
        if !new {
            self.again.insert(nid);
        }
        new
    }
}

/// A directory that is being read.
struct Level {
    node: Node,
    /// Where its next entry is.
    position: u64,
    /// Length of its path.
    path_len: usize,
}

/// Is given the path and inode of an entry. Returns whether to go into it, should it be a
/// directory, and must not do so twice for one inode.
type Enter<'a> = dyn FnMut(&[u8], &Inode, &mut Record) -> Result<bool> + 'a;

/// Calls `enter` for every entry.
fn traverse(image: &Opened, filter: &Filter, enter: &mut Enter) -> Result<()> {
    let mut path = Vec::new();
    let mut record = Record::default();
    let mut levels: Vec<Level> = Vec::new();
    let mut nid = image.root();
    loop {
        let go_on = image
            .inode(nid)
            .map_err(anyhow::Error::from)
            .and_then(|inode| Ok((enter(&path, &inode, &mut record)?, inode)));
        let (go_on, inode) = go_on.with_context(|| name(&path))?;
        if go_on && inode.node.file_type() == FileType::Directory {
            levels.push(Level {
                node: inode.node,
                position: 0,
                path_len: path.len(),
            });
        }
        loop {
            let top = levels.len() == 1;
            let Some(level) = levels.last_mut() else {
                return Ok(());
            };
            path.truncate(level.path_len);
            let mut next = None;
            let position = image.read_dir(&level.node, level.position, &mut |entry| {
                if next.is_some() {
                    return false;
                }
                let dots = entry.name == b"." || entry.name == b"..";
                if !dots && (!top || filter.passes(entry.name)) {
                    path.push(b'/');
                    path.extend_from_slice(entry.name);
                    next = Some(entry.nid);
                }
                true
            });
            level.position = position
                .map_err(anyhow::Error::from)
                .with_context(|| name(&path[..level.path_len]))?;
            match next {
                Some(next) => {
                    nid = next;
                    break;
                }
                None => levels.pop(),
            };
        }
    }
}

fn name(path: &[u8]) -> String {
    let path = if path.is_empty() { b"/" } else { path };
    quote::bytes(path).to_string()
}
