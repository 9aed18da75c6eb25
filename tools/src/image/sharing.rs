// SPDX-License-Identifier: GPL-2.0-only
//! Which xattrs inodes share: an image has those that several inodes have once, in one place.

use std::cmp::Ordering;

use composefs_format::disk::overlay::{METACOPY, REDIRECT};
use composefs_format::disk::xattr::ALIGNMENT;
use composefs_format::XattrIndex;

use crate::image::order::Order;
use crate::tree::{NodeId, Tree};
use crate::version::Version;
use crate::xattr::XattrId;

/// Most xattrs of one inode that are references to shared ones, with composefs 1.0.
const REFERENCES_MAX_C: usize = 128;
/// The same with composefs-rs, which loses count beyond.
const REFERENCES_MAX_RS: usize = u8::MAX as usize;

/// Marks an xattr that is not shared. Never a position: positions end at 2^30.
const NOT_SHARED: u32 = u32::MAX;

/// The shared xattrs.
pub(super) struct Sharing {
    version: Version,
    /// Position of each xattr of the pool in the shared area, in units of its alignment.
    positions: Vec<u32>,
    /// The xattrs of the shared area, in order.
    pub shared: Vec<XattrId>,
    /// Size of the shared area.
    pub size: u64,
    /// Whether any file has an ACL, and the header is to say so.
    pub has_acl: bool,
}

impl Sharing {
    /// Finds what several inodes have.
    pub fn new(tree: &Tree, order: &Order, version: Version) -> Self {
        let (pool, bytes) = (&tree.pool, &tree.bytes);
        let mut uses = vec![0_u8; pool.len()];
        for &id in &order.inodes {
            for &xattr in tree.xattrs(id) {
                let uses = &mut uses[xattr as usize];
                *uses = uses.saturating_add(1);
            }
        }
        let is_acl = |id| {
            let (prefix, suffix) = pool.split_name(bytes, id);
            let acl = matches!(
                prefix,
                XattrIndex::PosixAclAccess | XattrIndex::PosixAclDefault
            );
            acl && suffix.is_empty()
        };
        let used = || (0..).zip(&uses).filter(|&(_, &uses)| uses > 0);
        let has_acl = !version.is_rs() && used().any(|(id, _)| is_acl(id));
        let several = used().filter(|&(_, &uses)| uses > 1);
        let mut shared: Vec<XattrId> = several.map(|(id, _)| id).collect();
        shared.sort_unstable_by(|&a, &b| match version.is_rs() {
            true => by_prefix(tree, a, b),
            false => by_name(tree, b, a),
        });

        let mut positions = vec![NOT_SHARED; pool.len()];
        let mut size = 0;
        for &id in &shared {
            positions[id as usize] = (size / ALIGNMENT) as u32;
            size += pool.stored_size(id);
        }
        Self {
            version,
            positions,
            shared,
            size: size as u64,
            has_acl,
        }
    }

    /// The xattrs of a node in their order, each with its position in the shared area if it is to
    /// refer to that.
    pub fn xattrs<'a>(
        &'a self,
        tree: &'a Tree,
        id: NodeId,
    ) -> impl Iterator<Item = (XattrId, Option<u32>)> + 'a {
        let is_rs = self.version.is_rs();
        let references_max = match is_rs {
            true => REFERENCES_MAX_RS,
            false => REFERENCES_MAX_C,
        };
        // What composefs-rs adds to those of the source, it adds in front of them.
        let in_front = move |&&xattr: &&XattrId| {
            is_rs && [METACOPY, REDIRECT].contains(&tree.pool.name(&tree.bytes, xattr))
        };
        let all = tree.xattrs(id).iter();
        let xattrs = all.clone().filter(in_front);
        let xattrs = xattrs.chain(all.filter(move |xattr| !in_front(xattr)));
        let mut references = 0;
        xattrs.map(move |&xattr| {
            let position = Some(self.positions[xattr as usize])
                .filter(|&position| position != NOT_SHARED && references < references_max);
            references += usize::from(position.is_some());
            (xattr, position)
        })
    }
}

/// By name, then by length of the value, then by value.
fn by_name(tree: &Tree, a: XattrId, b: XattrId) -> Ordering {
    let key = |id| {
        let value = tree.pool.value(&tree.bytes, id);
        (tree.pool.name(&tree.bytes, id), value.len(), value)
    };
    key(a).cmp(&key(b))
}

/// By the number of the prefix, then by the rest of the name, then by value.
fn by_prefix(tree: &Tree, a: XattrId, b: XattrId) -> Ordering {
    let key = |id| {
        let (prefix, suffix) = tree.pool.split_name(&tree.bytes, id);
        (prefix as u8, suffix, tree.pool.value(&tree.bytes, id))
    };
    key(a).cmp(&key(b))
}
