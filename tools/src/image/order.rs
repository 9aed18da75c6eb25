// SPDX-License-Identifier: GPL-2.0-only
//! The order of a tree in an image: entries by name, inodes breadth first or depth first.

use std::mem;

use anyhow::{anyhow, Context, Result};

use crate::quote;
use crate::tree::{NodeId, Tree, NODES_MAX, ROOT};
use crate::version::Version;

/// Stands for the entry `.` among those of a directory.
const DOT: NodeId = NODES_MAX;
/// Stands for the entry `..`.
const DOT_DOT: NodeId = NODES_MAX + 1;

/// The sorted entries of every directory, and the sequence of inodes.
pub(super) struct Order {
    /// The entries of all directories, one directory after the other.
    entries: Vec<NodeId>,
    /// Where the entries of a node end in `entries`; they begin where the previous node's end.
    ends: Vec<u32>,
    /// Every node that has an inode of its own, in the order of their inodes.
    pub inodes: Vec<NodeId>,
}

impl Order {
    /// # Errors
    /// If a directory has a name twice, as one can that is read while it changes.
    pub fn new(tree: &Tree, version: Version) -> Result<Self> {
        let mut order = Self {
            entries: Vec::new(),
            ends: vec![0; tree.len()],
            inodes: Vec::new(),
        };
        order.sort_entries(tree)?;
        order.inodes = match version.is_rs() {
            true => order.depth_first(tree),
            false => order.breadth_first(tree),
        };
        Ok(order)
    }

    /// The entries of a directory, `.` and `..` included. Empty for other files.
    pub fn entries(&self, dir: NodeId) -> &[NodeId] {
        let dir = dir as usize;
        let start = dir.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.entries[start as usize..self.ends[dir] as usize]
    }

    /// The name of an entry.
    pub fn name(tree: &Tree, entry: NodeId) -> &[u8] {
        match entry {
            DOT => b".",
            DOT_DOT => b"..",
            id => tree.name(id),
        }
    }

    /// The node that an entry of `dir` leads to.
    pub fn target(tree: &Tree, dir: NodeId, entry: NodeId) -> NodeId {
        match entry {
            DOT => dir,
            DOT_DOT => tree.node(dir).parent(),
            id => tree.node(id).link().unwrap_or(id),
        }
    }

    /// How many directories are in the directory `dir`.
    pub fn subdirs(&self, tree: &Tree, dir: NodeId) -> usize {
        let is_dir = |&&id: &&NodeId| id < NODES_MAX && tree.node(id).meta.is_dir();
        self.entries(dir).iter().filter(is_dir).count()
    }

    /// A counting sort by directory, then a sort by name of each.
    fn sort_entries(&mut self, tree: &Tree) -> Result<()> {
        for id in tree.ids() {
            if tree.node(id).meta.is_dir() && tree.node(id).link().is_none() {
                self.ends[id as usize] += 2;
            }
            if id != ROOT {
                self.ends[tree.node(id).parent() as usize] += 1;
            }
        }
        // Turn counts into starts; filling then moves each start to its end.
        let mut total = 0;
        for end in &mut self.ends {
            let count = *end;
            *end = total;
            total += count;
        }
        self.entries = vec![0; total as usize];
        for id in tree.ids() {
            if tree.node(id).meta.is_dir() && tree.node(id).link().is_none() {
                self.append(id, DOT);
                self.append(id, DOT_DOT);
            }
            if id != ROOT {
                self.append(tree.node(id).parent(), id);
            }
        }
        let name = |id| Self::name(tree, id);
        let mut start = 0;
        for &end in &self.ends {
            // Usually sorted already, but for the first two.
            let entries = &mut self.entries[start as usize..end as usize];
            entries.sort_by(|&a, &b| name(a).cmp(name(b)));
            let mut pairs = entries.windows(2);
            if let Some(pair) = pairs.find(|pair| name(pair[0]) == name(pair[1])) {
                // Neither `.` nor `..` can come from a source.
                let path = quote::bytes(&tree.path(pair[1])).to_string();
                return Err(anyhow!("is there twice")).context(path);
            }
            start = end;
        }
        Ok(())
    }

    fn append(&mut self, dir: NodeId, entry: NodeId) {
        let end = &mut self.ends[dir as usize];
        self.entries[*end as usize] = entry;
        *end += 1;
    }

    /// All inodes, each where the source has the file.
    fn breadth_first(&self, tree: &Tree) -> Vec<NodeId> {
        let mut inodes = Vec::with_capacity(tree.len());
        inodes.push(ROOT);
        let mut next = 0;
        while let Some(&dir) = inodes.get(next) {
            let own = |&&id: &&NodeId| id < NODES_MAX && tree.node(id).link().is_none();
            inodes.extend(self.entries(dir).iter().filter(own));
            next += 1;
        }
        inodes
    }

    /// All inodes, each at the first of the file's names.
    fn depth_first(&self, tree: &Tree) -> Vec<NodeId> {
        let mut inodes = Vec::with_capacity(tree.len());
        inodes.push(ROOT);
        let mut is_there = vec![false; tree.len()];
        is_there[ROOT as usize] = true;
        let mut levels = vec![self.entries(ROOT).iter()];
        while let Some(entries) = levels.last_mut() {
            let Some(&entry) = entries.next() else {
                levels.pop();
                continue;
            };
            if entry >= NODES_MAX {
                continue;
            }
            let id = tree.node(entry).link().unwrap_or(entry);
            if !mem::replace(&mut is_there[id as usize], true) {
                inodes.push(id);
                levels.push(self.entries(id).iter());
            }
        }
        inodes
    }
}
