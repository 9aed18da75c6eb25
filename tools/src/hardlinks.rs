// SPDX-License-Identifier: GPL-2.0-only
//! Files of a source that have several names there, and which of these the inode goes with.
//!
//! Images have to be those of composefs-rs: the inode is where a walk through the tree, each
//! directory in the order of its names, comes across the file first.

use std::collections::{BTreeMap, HashMap};

use anyhow::{anyhow, Result};
use rustix::fs::Stat;

use crate::tree::{NodeId, Tree};

/// The files that a walk has come across.
#[derive(Debug, Default)]
pub(crate) struct HardLinks {
    /// The node of each, by device and inode number. Of all: there are filesystems, as
    /// fuse-overlayfs, that do not count links.
    nodes: HashMap<(u64, u64), NodeId>,
    /// The other names of files that have several, by the node of the file.
    names: BTreeMap<NodeId, Vec<NodeId>>,
}

impl HardLinks {
    /// Notes that `node` is a name of the file with this status. Returns whether it is one more
    /// name of a file that has a node already.
    ///
    /// # Errors
    /// If that file was another one then, or is a whiteout: that stands for the absence of a name.
    pub fn note(&mut self, tree: &Tree, node: NodeId, stat: &Stat) -> Result<bool> {
        let first = *self.nodes.entry((stat.st_dev, stat.st_ino)).or_insert(node);
        if first == node {
            return Ok(false);
        }
        if tree.node(first).meta != tree.node(node).meta {
            return Err(anyhow!("changed while it was read"));
        }
        if tree.node(node).meta.is_whiteout() {
            return Err(anyhow!("a whiteout cannot have a second link"));
        }
        self.names.entry(first).or_default().push(node);
        Ok(true)
    }

    /// Makes the names hard links, once everything is known about the files.
    pub fn apply(self, tree: &mut Tree) {
        for (file, mut names) in self.names {
            names.push(file);
            names.sort_by_cached_key(|&id| walk_order(tree, id));
            let first = names[0];
            tree.rehome(file, first);
            tree.meta_mut(first).nlink = names.len() as u32;
            for &name in &names[1..] {
                tree.set_link(name, first);
            }
        }
    }
}

/// What to sort by for the order of a walk: the path, with a separator that is less than whatever
/// a name can hold.
fn walk_order(tree: &Tree, id: NodeId) -> Vec<u8> {
    let mut path = tree.path(id);
    path.iter_mut()
        .filter(|byte| **byte == b'/')
        .for_each(|byte| *byte = 0);
    path
}
