// SPDX-License-Identifier: GPL-2.0-only

//! Extended attributes, as users of EROFS + overlayfs see them: overlayfs's
//! own are hidden, and escaped ones shown by the name that they stand for.

use crate::{
    format::{overlay, XattrIndex},
    vfs::{
        error::ENODATA,
        inode::Inode,
        xattr::{List, Namespace},
    },
    Composefs,
};
use kernel::prelude::*;

/// Reads an attribute, or its length if `value` is empty.
pub(crate) fn get(
    inode: &Inode<Composefs>,
    namespace: Namespace,
    name: &[u8],
    value: &mut [u8],
) -> Result<usize> {
    let node = &inode.data().node;
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

    let found = sb
        .image
        .visible_xattr(node, index, name)
        .map_err(|error| sb.report(inode.number(), error))?
        .ok_or(ENODATA)?;

    if value.is_empty() {
        return Ok(found.len());
    }
    if value.len() < found.len() {
        return Err(ERANGE);
    }
    sb.image
        .read_xattr(&found, value)
        .map_err(|error| sb.report(inode.number(), error))
}

/// Lists the attributes that users see.
pub(crate) fn list(inode: &Inode<Composefs>, list: &mut List<'_>) -> Result {
    let node = &inode.data().node;
    if !node.has_xattrs() {
        return Ok(());
    }
    let sb = inode.super_block().data();
    let has_acl = sb.image.superblock().has_acl();
    let mut result = Ok(());

    sb.image
        .list_xattrs(node, &mut |index, name, _| {
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
