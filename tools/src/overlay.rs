// SPDX-License-Identifier: GPL-2.0-only
//! What makes a tree mountable as a lower layer of overlayfs.
//!
//! A composefs image states in overlayfs terms where a file's content is (`metacopy`,
//! `redirect`). So whatever of the source would itself mean something to overlayfs is escaped
//! first: `trusted.overlay.*` attributes, and whiteouts. Format version 2 leaves whiteouts alone.

use std::collections::HashSet;

use anyhow::{anyhow, Context, Result};
use composefs_format::disk::overlay::{
    ESCAPED, METACOPY, OPAQUE, OPAQUE_WHITEOUTS, PRIVATE, REDIRECT, WHITEOUT, WHITEOUTS,
};

use crate::chunks;
use crate::quote;
use crate::tree::{FileType, Meta, NodeId, Tree, ROOT};
use crate::version::Version;
use crate::xattr::XattrList;

const SELINUX: &[u8] = b"security.selinux";

/// Whether the tree holds a whiteout; such trees are better off with format version 1 than with 0.
pub fn has_whiteouts(tree: &Tree) -> bool {
    tree.ids().any(|id| is_whiteout(tree, id))
}

fn is_whiteout(tree: &Tree, id: NodeId) -> bool {
    let node = tree.node(id);
    node.link().is_none() && node.meta.is_whiteout()
}

/// Rewrites a tree for overlayfs, for format version `version`.
///
/// # Errors
/// If the root is not a directory, or a file is too large or its attributes too many to be
/// described; the message names it.
pub fn rewrite(tree: &mut Tree, version: Version) -> Result<()> {
    if !tree.node(ROOT).meta.is_dir() {
        return Err(anyhow!("the root of an image must be a directory"));
    }
    let mut hiding = HashSet::new();
    let mut taken = HashSet::new();
    for id in tree.ids().skip(1) {
        let parent = tree.node(id).parent();
        if is_whiteout(tree, id) {
            hiding.insert(parent);
        }
        if parent == ROOT && tree.name(id).len() == 2 {
            taken.insert(tree.name(id).to_vec());
        }
    }

    let mut list = XattrList::default();
    for id in tree.ids() {
        if tree.node(id).link().is_none() {
            rewrite_node(tree, id, hiding.contains(&id), version, &mut list)
                .with_context(|| quote::bytes(&tree.path(id)).to_string())?;
        }
    }
    match version.is_rs() {
        true => Ok(()),
        false => add_stubs(tree, &taken),
    }
}

fn rewrite_node(
    tree: &mut Tree,
    id: NodeId,
    hiding: bool,
    version: Version,
    list: &mut XattrList,
) -> Result<()> {
    list.restart(tree.xattrs(id));
    let mut changed = escape(tree, list)?;
    changed |= point_at_content(tree, id, list)?;
    if !version.is_rs() {
        changed |= mark(tree, id, hiding, version, list)?;
    }
    if changed {
        tree.set_xattrs(id, list)?;
    }
    Ok(())
}

/// Says where the content of a file is that is elsewhere.
fn point_at_content(tree: &mut Tree, id: NodeId, list: &mut XattrList) -> Result<bool> {
    if !tree.is_external(id) {
        return Ok(false);
    }
    chunks::check_size(tree.node(id).meta.size)?;
    match tree.metacopy(id) {
        Some(value) => {
            let xattr = tree.pool.intern_span(&mut tree.bytes, METACOPY, value)?;
            list.set_id(&tree.pool, xattr)?;
        }
        None => tree.collect_xattr(list, METACOPY, b"")?,
    }
    if let Some(path) = tree.redirect(id).filter(|path| path.len() > 1) {
        let xattr = tree.pool.intern_span(&mut tree.bytes, REDIRECT, path)?;
        list.set_id(&tree.pool, xattr)?;
    }
    Ok(true)
}

/// Escapes a whiteout, and marks directories that hold some, and the root.
fn mark(
    tree: &mut Tree,
    id: NodeId,
    hiding: bool,
    version: Version,
    list: &mut XattrList,
) -> Result<bool> {
    let meta = tree.node(id).meta;
    let mut changed = false;
    if meta.is_whiteout() {
        let meta = tree.meta_mut(id);
        meta.size = 0;
        meta.file_type = FileType::Regular;
        for name in WHITEOUT {
            tree.collect_xattr(list, name, b"")?;
        }
        changed = true;
    }

    if hiding {
        for name in WHITEOUTS {
            tree.collect_xattr(list, name, b"")?;
        }
        if version.marks_whiteouts_twice() {
            for name in OPAQUE_WHITEOUTS {
                tree.collect_xattr(list, name, b"x")?;
            }
        }
        changed = true;
    }

    if id == ROOT {
        tree.collect_xattr(list, OPAQUE, b"y")?;
        changed = true;
    }
    Ok(changed)
}

/// Moves `trusted.overlay.*` out of the way of the attributes that are added.
fn escape(tree: &mut Tree, list: &mut XattrList) -> Result<bool> {
    let mut changed = false;
    for id in list.ids_mut() {
        let Some(rest) = tree.pool.name(&tree.bytes, *id).strip_prefix(PRIVATE) else {
            continue;
        };
        let name = [ESCAPED, rest].concat();
        let value = tree.pool.value_span(*id);
        *id = tree.pool.intern_span(&mut tree.bytes, &name, value)?;
        changed = true;
    }
    Ok(changed)
}

/// Adds a whiteout for each of the 256 directories of an object store.
///
/// With older kernels the store is an ordinary lower layer, merged with the image: these hide it.
fn add_stubs(tree: &mut Tree, taken: &HashSet<Vec<u8>>) -> Result<()> {
    let root = tree.node(ROOT).meta;
    let mut list = XattrList::default();
    if let Some(label) = tree.xattr(ROOT, SELINUX).map(<[u8]>::to_vec) {
        tree.collect_xattr(&mut list, SELINUX, &label)?;
    }
    for number in 0..=u8::MAX {
        let name = format!("{number:02x}").into_bytes();
        if taken.contains(&name) {
            continue;
        }
        let stub = tree.add(
            ROOT,
            &name,
            Meta {
                uid: root.uid,
                gid: root.gid,
                mtime: root.mtime,
                ..Meta::new(FileType::CharDevice, 0o644)
            },
        )?;
        tree.set_xattrs(stub, &list)?;
    }
    Ok(())
}
