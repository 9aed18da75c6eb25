// SPDX-License-Identifier: GPL-2.0-only
//! Finding entries of a growing tree by path.

use std::hash::BuildHasher;

use hashbrown::hash_table::HashTable;
use hashbrown::DefaultHashBuilder;

use crate::tree::{NodeId, Tree, ROOT};

/// Every entry but the root, by its directory and name.
#[derive(Default)]
pub(super) struct Names {
    table: HashTable<NodeId>,
    hash: DefaultHashBuilder,
    /// The directory that was looked up last, and its node: lines mostly come in groups.
    recent: (Vec<u8>, NodeId),
}

/// The parts of a path between slashes.
fn components(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|&byte| byte == b'/')
        .filter(|name| !name.is_empty())
}

impl Names {
    pub fn child(&self, tree: &Tree, parent: NodeId, name: &[u8]) -> Option<NodeId> {
        let hash = self.hash.hash_one((parent, name));
        let found = self.table.find(hash, |&id| {
            tree.node(id).parent() == parent && tree.name(id) == name
        });
        found.copied()
    }

    pub fn insert(&mut self, tree: &Tree, id: NodeId) {
        let key = |id| (tree.node(id).parent(), tree.name(id));
        let hash = self.hash.hash_one(key(id));
        let hasher = &self.hash;
        self.table
            .insert_unique(hash, id, |&id| hasher.hash_one(key(id)));
    }

    /// The entry at `path`. Any number of slashes may stand where one can.
    pub fn resolve(&self, tree: &Tree, path: &[u8]) -> Option<NodeId> {
        components(path).try_fold(ROOT, |dir, name| self.child(tree, dir, name))
    }

    /// The directory that is to hold `path`, and the name that it is to have there, which is
    /// empty if `path` ends in a slash.
    pub fn resolve_parent<'a>(
        &mut self,
        tree: &Tree,
        path: &'a [u8],
    ) -> Option<(NodeId, &'a [u8])> {
        let cut = memchr::memrchr(b'/', path).map_or(0, |slash| slash + 1);
        let (dir, name) = path.split_at(cut);
        if self.recent.0 != dir {
            let id = self.resolve(tree, dir)?;
            self.recent.0.clear();
            self.recent.0.extend_from_slice(dir);
            self.recent.1 = id;
        }
        Some((self.recent.1, name))
    }
}
