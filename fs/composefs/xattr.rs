// SPDX-License-Identifier: GPL-2.0-only

//! Extended attributes, as users of EROFS + overlayfs see them: overlayfs's own are hidden, and
//! escaped ones shown by the name that they stand for.

use crate::{
    format::{overlay, XattrFilter, XattrIndex},
    inode::node,
    vfs::{
        error::ENODATA,
        inode::Inode,
        xattr::{List, Namespace, Operations},
    },
    Composefs,
};
use kernel::{prelude::*, sync::atomic::Relaxed};

impl Operations for Composefs {
    fn get(
        inode: &Inode<Self>,
        namespace: Namespace,
        name: &[u8],
        value: &mut [u8],
    ) -> Result<usize> {
        let data = inode.data();
        let node = node(inode);
        if !node.has_xattrs() {
            return Err(ENODATA);
        }
        let index = match namespace {
            Namespace::User => XattrIndex::User,
            Namespace::Trusted => XattrIndex::Trusted,
            Namespace::Security => XattrIndex::Security,
            Namespace::AclAccess => XattrIndex::PosixAclAccess,
            Namespace::AclDefault => XattrIndex::PosixAclDefault,
        };
        let sb = inode.super_block().data();
        let report = |error| sb.report(inode.number(), error);

        // Whoever else stores the filter stores the same.
        let known = data.xattr_filter.load(Relaxed);
        let mut filter = XattrFilter::from_bits(known);
        let found = sb
            .image
            .read_visible_xattr(&node, index, name, &mut filter, value)
            .map_err(report)?;
        if filter.bits() != known {
            data.xattr_filter.store(filter.bits(), Relaxed);
        }
        found.ok_or(ENODATA)
    }

    fn list(inode: &Inode<Self>, list: &mut List<'_>) -> Result {
        let node = node(inode);
        if !node.has_xattrs() {
            return Ok(());
        }
        let sb = inode.super_block().data();
        let has_acl = sb.image.superblock().has_acl();
        let mut result = Ok(());

        sb.image
            .list_xattrs(&node, &mut |index, name, _| {
                let namespace = match index {
                    XattrIndex::User => Namespace::User,
                    XattrIndex::Trusted => Namespace::Trusted,
                    XattrIndex::Security => Namespace::Security,
                    XattrIndex::PosixAclAccess if has_acl => Namespace::AclAccess,
                    XattrIndex::PosixAclDefault if has_acl => Namespace::AclDefault,
                    _ => return true,
                };
                if let Some(name) = overlay::visible_name(index, name) {
                    result = list.add(namespace, name);
                }
                result.is_ok()
            })
            .map_err(|error| sb.report(inode.number(), error))?;

        result
    }
}
