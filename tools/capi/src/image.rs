// SPDX-License-Identifier: GPL-2.0-only
//! From a node and all below it to an image, and back.

use std::collections::HashMap;
use std::ffi::CString;
use std::fs::File;
use std::io::Write;
use std::rc::Rc;

use composefs_format::Algorithm;
use composefs_tools::contents::{self, Entry, Filter};
use composefs_tools::fsverity::Digest;
use composefs_tools::image::{self, Options};
use composefs_tools::tree::{FileType, Meta, NodeId, Tree};
use composefs_tools::version::VERSION_MAX_C;
use composefs_tools::xattr::{XattrError, XattrList};
use rustix::io::Errno;

use crate::node::{Node, Stat};

/// Largest file that an image can describe: 8 PiB.
const SIZE_MAX: u64 = 1 << 53;

/// Writes what is below `root` as an image. Gives the version that it has, `version` or more where
/// the tree is better off with it and `max_version` allows that; and its digest if that is wanted.
///
/// # Errors
/// [`Errno::INVAL`] if it cannot be an image, [`Errno::FBIG`] if a file is too large for one,
/// [`Errno::RANGE`] if the attributes of a file are; those of `out`.
pub fn write(
    root: &Rc<Node>,
    version: u32,
    max_version: u32,
    wants_digest: bool,
    out: Option<&mut dyn Write>,
) -> Result<(u32, Option<Digest>), Errno> {
    if version > VERSION_MAX_C || max_version > VERSION_MAX_C {
        return Err(Errno::INVAL);
    }
    let tree = Conversion::of(root)?;
    let has_whiteouts = tree.ids().any(|id| {
        let node = tree.node(id);
        node.link().is_none() && node.meta.is_whiteout()
    });
    let version = if has_whiteouts {
        version.max(max_version)
    } else {
        version
    };
    let options = Options {
        min_version: version,
        max_version: version,
        digest: wants_digest.then_some(Algorithm::Sha256),
    };
    let digest = image::write(tree, &options, out).map_err(|error| errno(&error))?;
    Ok((version, digest))
}

/// The error that is nearest.
fn errno(error: &anyhow::Error) -> Errno {
    if let Some(error) = error.downcast_ref::<std::io::Error>() {
        return Errno::from_io_error(error).unwrap_or(Errno::IO);
    }
    match error.downcast_ref() {
        Some(XattrError::TooMuch | XattrError::Name) => Errno::RANGE,
        Some(XattrError::Value) | None => Errno::INVAL,
    }
}

/// A tree that is being made of nodes.
struct Conversion {
    tree: Tree,
    /// Where the nodes are in it that have other names.
    targets: HashMap<*const Node, Option<NodeId>>,
    /// Nodes that are other names, and what of.
    links: Vec<(NodeId, Rc<Node>)>,
}

impl Conversion {
    fn of(root: &Rc<Node>) -> Result<Tree, Errno> {
        let mut this = Self {
            tree: Tree::new(),
            targets: targets(root),
            links: Vec::new(),
        };
        if !root.is_dir() {
            return Err(Errno::NOTDIR);
        }
        let invalid = |_| Errno::INVAL;
        let id = this.tree.add_root(meta(&root.stat())?).map_err(invalid)?;
        this.describe(id, root)?;
        let mut left = vec![(id, Rc::clone(root))];
        while let Some((parent, dir)) = left.pop() {
            for index in 0..dir.child_count() {
                let child = dir.child(index).ok_or(Errno::INVAL)?;
                if let Some(id) = this.add(parent, &child)? {
                    left.push((id, child));
                }
            }
        }
        this.resolve()?;
        Ok(this.tree)
    }

    /// Adds an entry; gives its number if it may have others below it.
    fn add(&mut self, parent: NodeId, node: &Rc<Node>) -> Result<Option<NodeId>, Errno> {
        if node.has_bad_link() {
            return Err(Errno::INVAL);
        }
        let target = match node.link() {
            Some(_) => Some(node.linked().ok_or(Errno::LOOP)?),
            None => None,
        };
        let stat = target.as_ref().unwrap_or(node).stat();
        let meta = meta(&stat)?;
        // Only directories have children, and only one name.
        if !meta.is_dir() && node.child_count() > 0 || target.is_some() && meta.is_dir() {
            return Err(Errno::INVAL);
        }
        let added = node.name(|name| {
            let name = name.ok_or(Errno::INVAL)?;
            self.tree
                .add(parent, name.to_bytes(), meta)
                .map_err(|_| Errno::INVAL)
        });
        let id = added?;
        match target {
            Some(target) => {
                self.links.push((id, target));
                Ok(None)
            }
            None => {
                self.describe(id, node)?;
                Ok(meta.is_dir().then_some(id))
            }
        }
    }

    fn describe(&mut self, id: NodeId, node: &Rc<Node>) -> Result<(), Errno> {
        if let Some(place) = self.targets.get_mut(&Rc::as_ptr(node)) {
            *place = Some(id);
        }
        let tree = &mut self.tree;
        let full = |_| Errno::NOMEM;
        node.payload(|payload| match payload {
            Some(payload) => tree.set_payload(id, payload.to_bytes()),
            None => Ok(()),
        })
        .map_err(full)?;
        if tree.node(id).meta.file_type == FileType::Symlink {
            // Whatever its size was said to be.
            let target = tree.payload(id).filter(|target| !target.is_empty());
            let size = target.ok_or(Errno::INVAL)?.len() as u64;
            tree.meta_mut(id).size = size;
        }
        node.content(|content| match content {
            Some(content) => tree.set_content(id, content),
            None => Ok(()),
        })
        .map_err(full)?;
        if tree.is_external(id) {
            if tree.node(id).meta.size > SIZE_MAX {
                return Err(Errno::FBIG);
            }
            let digest = node.digest(|bytes| Digest::from_bytes(Algorithm::Sha256, bytes?));
            if let Some(digest) = digest {
                tree.set_digest(id, &digest).map_err(full)?;
            }
        }
        let mut list = XattrList::default();
        for index in 0..node.xattr_count() {
            node.xattr(index, |xattr| match xattr {
                Some(xattr) => {
                    tree.collect_xattr(&mut list, xattr.name().to_bytes(), xattr.value())
                }
                None => Ok(()),
            })
            .map_err(|error| errno(&error))?;
        }
        tree.set_xattrs(id, &list).map_err(full)
    }

    /// Every link has to lead to something that is in the tree.
    fn resolve(&mut self) -> Result<(), Errno> {
        for (id, target) in &self.links {
            let target = self.targets.get(&Rc::as_ptr(target)).copied().flatten();
            self.tree.set_link(*id, target.ok_or(Errno::INVAL)?);
        }
        Ok(())
    }
}

/// The nodes that some node below `root` is another name of: few, beside all nodes.
fn targets(root: &Rc<Node>) -> HashMap<*const Node, Option<NodeId>> {
    let mut targets = HashMap::new();
    let mut left = vec![Rc::clone(root)];
    while let Some(dir) = left.pop() {
        for child in (0..dir.child_count()).filter_map(|index| dir.child(index)) {
            if child.link().is_some() {
                targets.extend(child.linked().map(|target| (Rc::as_ptr(&target), None)));
            } else if child.child_count() > 0 {
                left.push(child);
            }
        }
    }
    targets
}

fn meta(stat: &Stat) -> Result<Meta, Errno> {
    let meta = Meta::from_mode(stat.mode).ok_or(Errno::INVAL)?;
    let is_device = matches!(meta.file_type, FileType::CharDevice | FileType::BlockDevice);
    Ok(Meta {
        nlink: stat.nlink,
        uid: stat.uid,
        gid: stat.gid,
        rdev: if is_device { stat.rdev } else { 0 },
        size: stat.size,
        mtime: stat.mtime(),
        ..meta
    })
}

/// The root of the tree that an image holds: all of it, or of what is in the root only `names`.
///
/// # Errors
/// [`Errno::INVAL`] if it is not an image, or damaged; those of reading it.
pub fn read(file: File, names: Option<Vec<&[u8]>>) -> Result<Rc<Node>, Errno> {
    let image = contents::open_file(file).map_err(|error| errno(&error))?;
    let filter = match names {
        Some(names) => Filter::only(names),
        None => Filter::new(&[]).map_err(|_| Errno::INVAL)?,
    };
    let mut reading = Reading::default();
    contents::visit(&image, &filter, false, &mut |entry| {
        reading
            .entry(entry)
            .map_err(|error| std::io::Error::from(error).into())
    })
    .map_err(|error| errno(&error))?;
    reading
        .levels
        .into_iter()
        .next()
        .map(|(_, root)| root)
        .ok_or(Errno::INVAL)
}

/// Nodes that are being made of an image.
#[derive(Default)]
struct Reading {
    /// The directories that lead to the entry before, each with the length of its path.
    levels: Vec<(usize, Rc<Node>)>,
    /// Files that have several names, by the first.
    linked: HashMap<Vec<u8>, Rc<Node>>,
}

impl Reading {
    fn entry(&mut self, entry: &Entry) -> Result<(), Errno> {
        let node = match entry.hard_link {
            Some(first) => Node::found_link(self.linked.get(first).ok_or(Errno::INVAL)?),
            None => new_node(entry)?,
        };
        let Some(slash) = entry.path.iter().rposition(|&byte| byte == b'/') else {
            self.levels.push((0, node));
            return Ok(());
        };
        while self.levels.last().is_some_and(|&(len, _)| len > slash)
            || self.levels.last().is_some_and(|&(len, _)| len != slash) && self.levels.len() > 1
        {
            self.levels.pop();
        }
        let (_, parent) = self.levels.last().ok_or(Errno::INVAL)?;
        let name = entry.path.get(slash + 1..).unwrap_or_default();
        let name = CString::new(name).map_err(|_| Errno::INVAL)?;
        parent.add(Rc::clone(&node), &name)?;
        if entry.hard_link.is_some() {
            return Ok(());
        }
        if node.is_dir() {
            self.levels.push((entry.path.len(), node));
        } else if entry.is_linked {
            self.linked.insert(entry.path.to_vec(), node);
        }
        Ok(())
    }
}

fn new_node(entry: &Entry) -> Result<Rc<Node>, Errno> {
    let record = entry.record;
    let inode = record.inode();
    let node = Node::new();
    node.change(|stat| {
        *stat = Stat {
            mode: record.mode().into(),
            nlink: inode.nlink,
            uid: inode.uid,
            gid: inode.gid,
            rdev: inode.rdev,
            size: record.size,
            mtime_sec: inode.mtime.sec,
            mtime_nsec: inode.mtime.nsec,
        }
    });
    if let Some(payload) = record.payload() {
        let payload = CString::new(payload).map_err(|_| Errno::INVAL)?;
        node.set_payload(Some(&payload))?;
    }
    if let Some(content) = record.content() {
        node.set_content(content)?;
    }
    node.set_digest(
        record
            .digest
            .and_then(|digest| digest.as_bytes().try_into().ok()),
    );
    for (name, value) in record.xattrs() {
        let name = CString::new(name).map_err(|_| Errno::INVAL)?;
        node.set_found_xattr(&name, value)?;
    }
    Ok(node)
}
