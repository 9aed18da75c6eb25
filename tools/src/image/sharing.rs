// SPDX-License-Identifier: GPL-2.0-only
//! Which xattrs inodes share: an image has those that several inodes have once, in one place.

use composefs_format::disk::xattr::ALIGNMENT;
use composefs_format::XattrIndex;

use crate::image::order::Order;
use crate::tree::{NodeId, Tree};
use crate::xattr::XattrId;

/// Most xattrs of one inode that are references to shared ones.
const REFERENCES_MAX: usize = 128;

/// Marks an xattr that is not shared. Never a position: positions end at 2^30.
const NOT_SHARED: u32 = u32::MAX;

/// The shared xattrs.
pub(super) struct Sharing {
    /// Position of each xattr of the pool in the shared area, in units of its alignment.
    positions: Vec<u32>,
    /// The xattrs of the shared area, in order.
    pub shared: Vec<XattrId>,
    /// Size of the shared area.
    pub size: u64,
    /// Whether any file has an ACL.
    pub has_acl: bool,
}

impl Sharing {
    /// Finds what several inodes have. The order of the shared area is by descending name, then
    /// descending length of the value, then descending value.
    pub fn new(tree: &Tree, order: &Order) -> Self {
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
        let has_acl = used().any(|(id, _)| is_acl(id));
        let several = used().filter(|&(_, &uses)| uses > 1);
        let mut shared: Vec<XattrId> = several.map(|(id, _)| id).collect();
        let key = |&id: &XattrId| {
            let value = pool.value(bytes, id);
            (pool.name(bytes, id), value.len(), value)
        };
        shared.sort_unstable_by(|a, b| key(b).cmp(&key(a)));

        let mut positions = vec![NOT_SHARED; pool.len()];
        let mut size = 0;
        for &id in &shared {
            positions[id as usize] = (size / ALIGNMENT) as u32;
            size += pool.stored_size(id);
        }
        Self {
            positions,
            shared,
            size: size as u64,
            has_acl,
        }
    }

    /// The xattrs of a node, each with its position in the shared area if it is to refer to that.
    pub fn xattrs<'a>(
        &'a self,
        tree: &'a Tree,
        id: NodeId,
    ) -> impl Iterator<Item = (XattrId, Option<u32>)> + 'a {
        let mut references = 0;
        tree.xattrs(id).iter().map(move |&xattr| {
            let position = Some(self.positions[xattr as usize])
                .filter(|&position| position != NOT_SHARED && references < REFERENCES_MAX);
            references += usize::from(position.is_some());
            (xattr, position)
        })
    }
}
