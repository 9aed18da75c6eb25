// SPDX-License-Identifier: GPL-2.0-only
//! The file system of an image: its layers on top of each other, without what differs from one
//! build to the next though nobody meant it to.

use std::collections::HashMap;

use anyhow::{anyhow, bail, Context, Result};
use composefs_repository::stream::Reader;
use composefs_repository::Repository;
use composefs_tools::fsverity::{object_path, Digest};
use composefs_tools::quote;
use composefs_tools::tree::{self, FileType, NodeId, Tree};
use composefs_tools::xattr::XattrList;

use crate::digest::BlobDigest;
use crate::entry::{Content, Entries};
use crate::layer;
use crate::merge::{Body, Id, Inode, Merged, ROOT};

/// Makes the tree of an image whose layers are these, the lowest first: what they are called, and
/// their streams.
///
/// # Errors
/// If a layer cannot be read, or has what an image cannot have.
pub fn build(repository: &Repository, layers: &[(BlobDigest, Digest)]) -> Result<Tree> {
    let mut stack = Stack::default();
    for (diff_id, stream) in layers {
        stack.add(repository, diff_id, stream)?;
    }
    stack.into_tree()
}

/// Layers on top of each other, as far as they are there.
#[derive(Debug, Default)]
pub struct Stack(Merged);

impl Stack {
    /// Puts a layer on top: what it is called, and its stream.
    ///
    /// # Errors
    /// If it cannot be read, or has what an image cannot have.
    pub fn add(
        &mut self,
        repository: &Repository,
        diff_id: &BlobDigest,
        stream: &Digest,
    ) -> Result<()> {
        add_layer(repository, stream, &mut self.0).with_context(|| format!("layer {diff_id}"))
    }

    /// The tree, when all are there.
    ///
    /// # Errors
    /// If it has what an image cannot have.
    pub fn into_tree(mut self) -> Result<Tree> {
        normalize(&mut self.0)?;
        Conversion::of(&self.0)
    }
}

fn add_layer(repository: &Repository, stream: &Digest, merged: &mut Merged) -> Result<()> {
    let reader = Reader::open(repository.object(stream)?, repository.algorithm())?;
    if reader.content_type() != layer::TYPE {
        bail!("is not the stream of a layer");
    }
    let mut entries = Entries::new(reader);
    while let Some(entry) = entries.next_entry()? {
        let path = entry.path.clone();
        let applied = merged.apply(entry);
        applied.with_context(|| quote::bytes(&path).to_string())?;
    }
    Ok(())
}

/// Takes away what is not the image's: the root's attributes, which archives give or not, are
/// those of `/usr`; what is in `/run` was put there by the build; and so were most attributes.
fn normalize(merged: &mut Merged) -> Result<()> {
    let child = |merged: &Merged, name: &[u8]| {
        let id = *merged.names(ROOT)?.get(name)?;
        Some((id, merged.names(id).is_some()))
    };
    let usr = match child(merged, b"usr") {
        Some((_, false)) => bail!("'/usr': is not a directory"),
        Some((id, true)) => merged.inode(id).map(|usr| (usr.meta, usr.xattrs.clone())),
        None => None,
    };
    // An image without it, of one program say, has a root like any directory that is not mentioned.
    let (meta, xattrs) = usr.unwrap_or((tree::Meta::new(FileType::Directory, 0o755), Vec::new()));
    if let Some(root) = merged.inode_mut(ROOT) {
        (root.meta, root.xattrs) = (meta, xattrs);
    }
    match child(merged, b"run") {
        Some((_, false)) => bail!("'/run': is not a directory"),
        Some((id, true)) => {
            if let Some(run) = merged.inode_mut(id) {
                run.meta.mtime = meta.mtime;
            }
            if let Some(names) = merged.names_mut(id) {
                names.clear();
            }
        }
        None => {}
    }
    Ok(())
}

/// A tree that is being made.
struct Conversion<'a> {
    merged: &'a Merged,
    tree: Tree,
    /// The first name of each file.
    first: HashMap<Id, NodeId>,
    xattrs: XattrList,
}

impl<'a> Conversion<'a> {
    fn of(merged: &'a Merged) -> Result<Tree> {
        let mut this = Self {
            merged,
            tree: Tree::new(),
            first: HashMap::new(),
            xattrs: XattrList::default(),
        };
        let root = this.inode(ROOT)?;
        let id = this.tree.add_root(root.meta)?;
        this.describe(id, root)?;
        // Depth first, by name.
        let mut levels = vec![(id, this.names(ROOT))];
        while let Some((parent, names)) = levels.last_mut() {
            let parent = *parent;
            let Some((name, child)) = names.next() else {
                levels.pop();
                continue;
            };
            let added = this.add(parent, name, child);
            // A path costs more than the file, so it is looked for when it is needed.
            let id = added.with_context(|| {
                let path = [this.tree.path(parent), b"/".to_vec(), name.clone()].concat();
                let path = path
                    .strip_prefix(b"/")
                    .filter(|_| path.starts_with(b"//"))
                    .unwrap_or(&path);
                quote::bytes(path).to_string()
            })?;
            if this.merged.names(child).is_some() {
                levels.push((id, this.names(child)));
            }
        }
        Ok(this.tree)
    }

    fn names(&self, dir: Id) -> Box<dyn Iterator<Item = (&'a Vec<u8>, Id)> + 'a> {
        let names = self.merged.names(dir);
        Box::new(names.into_iter().flatten().map(|(name, &id)| (name, id)))
    }

    fn inode(&self, id: Id) -> Result<&'a Inode> {
        self.merged.inode(id).ok_or_else(|| anyhow!("is not there"))
    }

    fn add(&mut self, parent: NodeId, name: &[u8], child: Id) -> Result<NodeId> {
        let inode = self.inode(child)?;
        let id = self.tree.add(parent, name, inode.meta)?;
        if let Body::Directory(_) = inode.body {
            self.describe(id, inode)?;
            return Ok(id);
        }
        match self.first.get(&child).copied() {
            None => {
                self.first.insert(child, id);
                self.describe(id, inode)?;
            }
            Some(_) if inode.meta.is_whiteout() => bail!("is a whiteout with several names"),
            Some(first) => {
                self.tree.set_link(id, first);
                self.tree.meta_mut(first).nlink += 1;
            }
        }
        Ok(id)
    }

    fn describe(&mut self, id: NodeId, inode: &Inode) -> Result<()> {
        let tree = &mut self.tree;
        match &inode.body {
            Body::Directory(_) | Body::Other(Content::None | Content::Link(_)) => {}
            Body::Other(Content::Inline(content)) => tree.set_content(id, content)?,
            Body::Other(Content::Object(object)) => {
                tree.set_payload(id, object_path(object).as_bytes())?;
                tree.set_digest(id, object)?;
            }
            Body::Other(Content::Target(target)) => {
                tree.set_payload(id, target)?;
                tree.meta_mut(id).size = target.len() as u64;
            }
        }
        self.xattrs.clear();
        for (name, value) in &inode.xattrs {
            tree.collect_xattr(&mut self.xattrs, name, value)?;
        }
        tree.set_xattrs(id, &self.xattrs)
    }
}
