// SPDX-License-Identifier: GPL-2.0-only
//! A file tree in memory: metadata only, laid out for trees of millions of entries.

use std::num::NonZeroU32;

use anyhow::{anyhow, Result};
use composefs_format::disk::{dirent, file_type, metacopy};

pub use composefs_format::FileType;

use crate::bytes::{Bytes, NonEmpty, Span};
use crate::fsverity::Digest;
use crate::structure::Structure;
use crate::xattr::{Pool, XattrId, XattrList};

/// Number of a node. The root is 0, and a parent always comes before its children.
pub type NodeId = u32;

/// Most nodes of a tree: ids from here on are free for other uses.
pub const NODES_MAX: NodeId = NodeId::MAX - 1;

/// The root of every tree.
pub const ROOT: NodeId = 0;

/// Largest content that an image may hold for a file.
pub const INLINE_MAX: usize = 5000;

/// A point in time. Ordered as time is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time {
    /// Seconds since the epoch.
    pub sec: i64,
    /// Nanoseconds. A dump may hold any number here.
    pub nsec: u32,
}

/// What `stat` says of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Meta {
    /// Type of the file.
    pub file_type: FileType,
    /// Permissions: the mode without the type.
    pub permissions: u16,
    /// Number of hard links. For directories it is computed when the image is written.
    pub nlink: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Device number, as the kernel encodes it in 32 bits.
    pub rdev: u32,
    /// Size in bytes. That of directories is computed when the image is written.
    pub size: u64,
    /// Modification time.
    pub mtime: Time,
}

impl Meta {
    /// A file with one link and nothing else.
    pub fn new(file_type: FileType, permissions: u16) -> Self {
        Self {
            file_type,
            permissions,
            nlink: 1,
            uid: 0,
            gid: 0,
            rdev: 0,
            size: 0,
            mtime: Time::default(),
        }
    }

    /// The same, for a mode of which only the lower 16 bits count; `None` if it has no file type.
    pub fn from_mode(mode: u32) -> Option<Self> {
        let mode = mode as u16;
        let file_type = FileType::from_mode(mode)?;
        Some(Self::new(file_type, mode & !file_type::MASK))
    }

    /// File type and permissions.
    pub fn mode(&self) -> u16 {
        self.file_type.mode() | self.permissions
    }

    /// Whether this is a directory.
    pub fn is_dir(&self) -> bool {
        self.file_type == FileType::Directory
    }

    /// Whether this is what overlayfs calls a whiteout: a character device 0:0.
    pub fn is_whiteout(&self) -> bool {
        self.file_type == FileType::CharDevice && self.rdev == 0
    }
}

/// A slice of the tree's list of xattr ids.
#[derive(Clone, Copy, Debug, Default)]
struct XattrRange {
    start: u32,
    len: u16,
}

/// One entry of a directory.
#[derive(Clone, Debug)]
pub struct Node {
    /// Attributes. Of a hard link only the file type counts.
    pub meta: Meta,
    parent: NodeId,
    /// The bits of its number are turned: no node has the number that this makes 0.
    link: Option<NonZeroU32>,
    name: Span,
    xattrs: XattrRange,
    payload: Option<NonEmpty>,
    content: Option<NonEmpty>,
    digest: Option<NonEmpty>,
}

impl Node {
    /// The directory that holds the node; the root holds itself.
    pub fn parent(&self) -> NodeId {
        self.parent
    }

    /// The node that this one is another name of.
    pub fn link(&self) -> Option<NodeId> {
        self.link.map(|turned| !turned.get())
    }
}

/// A tree. It begins with its root and only grows.
#[derive(Debug, Default)]
pub struct Tree {
    nodes: Vec<Node>,
    xattr_ids: Vec<XattrId>,
    pub(crate) bytes: Bytes,
    pub(crate) pool: Pool,
}

impl Tree {
    /// An empty tree, without a root yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Number of nodes, the root and hard links included.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there is not even a root.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Every node's id, in the order in which they were added.
    pub fn ids(&self) -> impl Iterator<Item = NodeId> {
        0..self.nodes.len() as NodeId
    }

    /// A node.
    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id as usize]
    }

    /// A node's attributes, to be changed.
    pub fn meta_mut(&mut self, id: NodeId) -> &mut Meta {
        &mut self.nodes[id as usize].meta
    }

    /// Adds the root.
    ///
    /// # Errors
    /// If there is a root.
    pub fn add_root(&mut self, meta: Meta) -> Result<NodeId> {
        if !self.nodes.is_empty() {
            return Err(anyhow!("the tree has a root already"));
        }
        self.push(ROOT, Span::default(), meta)
    }

    /// Adds an entry to a directory. That the name is not there yet is for the caller to know.
    ///
    /// # Errors
    /// If `parent` is not a directory, or the name is not one.
    pub fn add(&mut self, parent: NodeId, name: &[u8], meta: Meta) -> Result<NodeId> {
        if !self.node(parent).meta.is_dir() {
            return Err(anyhow!("parent is not a directory"));
        }
        if name.is_empty() {
            return Err(anyhow!("file name is empty"));
        }
        if name.len() > dirent::NAME_MAX {
            return Err(anyhow!(
                "file name is longer than {} bytes",
                dirent::NAME_MAX
            ));
        }
        let name = self.bytes.push(&[name])?;
        self.push(parent, name, meta)
    }

    fn push(&mut self, parent: NodeId, name: Span, meta: Meta) -> Result<NodeId> {
        let id = NodeId::try_from(self.nodes.len())
            .ok()
            .filter(|&id| id < NODES_MAX)
            .ok_or_else(|| anyhow!("the tree has too many entries"))?;
        self.nodes.push(Node {
            meta,
            parent,
            link: None,
            name,
            xattrs: XattrRange::default(),
            payload: None,
            content: None,
            digest: None,
        });
        Ok(id)
    }

    /// The name of an entry; the root's is empty.
    pub fn name(&self, id: NodeId) -> &[u8] {
        self.bytes.get(self.node(id).name)
    }

    /// The absolute path of an entry.
    pub fn path(&self, mut id: NodeId) -> Vec<u8> {
        let mut names = Vec::new();
        while id != ROOT {
            names.push(self.name(id));
            id = self.node(id).parent;
        }
        if names.is_empty() {
            return b"/".to_vec();
        }
        let mut path = Vec::new();
        for name in names.iter().rev() {
            path.push(b'/');
            path.extend_from_slice(name);
        }
        path
    }

    /// Makes a node another name of `target`.
    pub fn set_link(&mut self, id: NodeId, target: NodeId) {
        self.nodes[id as usize].link = NonZeroU32::new(!target);
    }

    /// Gives the node `to` all that is known of `from` but the name.
    pub(crate) fn rehome(&mut self, from: NodeId, to: NodeId) {
        let Node { parent, name, .. } = self.nodes[to as usize];
        let node = self.nodes[from as usize].clone();
        self.nodes[to as usize] = Node {
            parent,
            name,
            ..node
        };
    }

    /// Sets the target of a symlink, or the path of the object that holds a file's content.
    ///
    /// # Errors
    /// [`Bytes::push`].
    pub fn set_payload(&mut self, id: NodeId, payload: &[u8]) -> Result<()> {
        // An object path appears in the image with a slash in front. Stored so, one copy is
        // enough for both.
        let span = self.bytes.push(&[b"/", payload])?;
        self.nodes[id as usize].payload = span.non_empty();
        Ok(())
    }

    /// The target of a symlink, or the path of the object that holds a file's content.
    pub fn payload(&self, id: NodeId) -> Option<&[u8]> {
        let span = self.redirect(id)?;
        Some(self.bytes.get(span.skip(1)))
    }

    /// The payload with a slash in front: the value of the redirect xattr.
    pub(crate) fn redirect(&self, id: NodeId) -> Option<Span> {
        self.node(id).payload.map(Span::from)
    }

    /// Sets the content that the image is to hold for a file, and with it the file's size.
    ///
    /// # Errors
    /// [`Bytes::push`].
    pub fn set_content(&mut self, id: NodeId, content: &[u8]) -> Result<()> {
        let span = self.bytes.push(&[content])?;
        let node = &mut self.nodes[id as usize];
        node.content = span.non_empty();
        node.meta.size = content.len() as u64;
        Ok(())
    }

    /// The content that the image is to hold for a file; `None` if it has none there.
    pub fn content(&self, id: NodeId) -> Option<&[u8]> {
        let span = self.node(id).content?;
        Some(self.bytes.get(span.into()))
    }

    /// Whether this is a file with content that the image is not to hold.
    pub fn is_external(&self, id: NodeId) -> bool {
        let Node { meta, content, .. } = self.node(id);
        meta.file_type == FileType::Regular && meta.size > 0 && content.is_none()
    }

    /// Sets the fs-verity digest of a file's content.
    ///
    /// # Errors
    /// [`Bytes::push`].
    pub fn set_digest(&mut self, id: NodeId, digest: &Digest) -> Result<()> {
        // As with the payload, one copy serves both this and the metacopy xattr.
        let algorithm = digest.algorithm();
        let len = metacopy::HEADER_SIZE + algorithm.digest_size();
        let mut header = Structure::<{ metacopy::HEADER_SIZE }>::new();
        header
            .put(metacopy::at::VERSION, metacopy::VERSION)
            .put(metacopy::at::LEN, len as u8)
            .put(metacopy::at::FLAGS, metacopy::FLAGS)
            .put(metacopy::at::ALGORITHM, algorithm.id());
        let span = self.bytes.push(&[header.as_bytes(), digest.as_bytes()])?;
        self.nodes[id as usize].digest = span.non_empty();
        Ok(())
    }

    /// The value of the metacopy xattr.
    pub(crate) fn metacopy(&self, id: NodeId) -> Option<Span> {
        self.node(id).digest.map(Span::from)
    }

    /// The xattrs of a node, by name.
    pub fn xattrs(&self, id: NodeId) -> &[XattrId] {
        let range = self.node(id).xattrs;
        let start = range.start as usize;
        &self.xattr_ids[start..start + usize::from(range.len)]
    }

    /// The value of one xattr.
    pub fn xattr(&self, id: NodeId, name: &[u8]) -> Option<&[u8]> {
        self.xattrs(id)
            .iter()
            .find(|&&xattr| self.pool.name(&self.bytes, xattr) == name)
            .map(|&xattr| self.pool.value(&self.bytes, xattr))
    }

    /// Adds an xattr to `list`, which is to become that of a node.
    ///
    /// # Errors
    /// [`XattrList::set`].
    pub fn collect_xattr(&mut self, list: &mut XattrList, name: &[u8], value: &[u8]) -> Result<()> {
        list.set(&mut self.pool, &mut self.bytes, name, value)
    }

    /// Takes away the xattrs of a node whose names are not to be kept.
    pub fn retain_xattrs(&mut self, id: NodeId, mut keep: impl FnMut(&[u8]) -> bool) {
        let range = self.nodes[id as usize].xattrs;
        let start = range.start as usize;
        let mut kept = start;
        for at in start..start + usize::from(range.len) {
            let xattr = self.xattr_ids[at];
            if keep(self.pool.name(&self.bytes, xattr)) {
                self.xattr_ids[kept] = xattr;
                kept += 1;
            }
        }
        self.nodes[id as usize].xattrs.len = (kept - start) as u16;
    }

    /// Gives a node the xattrs of `list`.
    ///
    /// # Errors
    /// If the tree holds too many.
    pub fn set_xattrs(&mut self, id: NodeId, list: &XattrList) -> Result<()> {
        let start = self.xattr_ids.len();
        self.xattr_ids.extend_from_slice(list.ids());
        let (pool, bytes) = (&self.pool, &self.bytes);
        self.xattr_ids[start..].sort_unstable_by_key(|&xattr| pool.name(bytes, xattr));
        self.nodes[id as usize].xattrs = XattrRange {
            start: u32::try_from(start).map_err(|_| anyhow!("the tree has too many xattrs"))?,
            // The limits on a node's xattrs keep their number far below 65536.
            len: list.ids().len() as u16,
        };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_xattrs_are_kept() {
        let mut tree = Tree::new();
        let meta = Meta::new(FileType::Directory, 0o755);
        let root = tree.add_root(meta).expect("root");
        let mut list = XattrList::default();
        let names: [&[u8]; 5] = [b"user.a", b"user.b", b"user.c", b"user.d", b"user.e"];
        for name in names {
            tree.collect_xattr(&mut list, name, &name[5..])
                .expect("xattr");
        }
        tree.set_xattrs(root, &list).expect("xattrs");
        let other = tree.add(root, b"other", meta).expect("other");
        tree.set_xattrs(other, &list).expect("xattrs");

        tree.retain_xattrs(other, |name| b"bde".contains(&name[5]));
        let kept: Vec<_> = names
            .iter()
            .filter_map(|name| tree.xattr(other, name))
            .collect();
        assert_eq!(kept, [b"b", b"d", b"e"]);
        assert_eq!(tree.xattrs(other).len(), 3);
        assert_eq!(tree.xattrs(root).len(), 5);
    }
}
