// SPDX-License-Identifier: GPL-2.0-only

//! Inodes: from an image's to the VFS's. The number of an inode is its nid.

use crate::{
    format::{self, FileType, Node},
    superblock::Super,
    verity::ProofState,
    vfs::{
        backing::BackingSlot,
        error::EUCLEAN,
        inode::{Kind, NewInode},
    },
    Composefs,
};
use kernel::prelude::*;

/// What the driver keeps for an inode.
pub(crate) struct InodeData {
    /// Where its parts are in the image.
    pub(crate) node: Node,
    /// The object of an external file, once it was opened and checked.
    pub(crate) backing: BackingSlot,
    /// What is known of that object.
    pub(crate) proof: ProofState,
}

// There is one of these for each cached inode, next to some 600 bytes of VFS.
const _: () = assert!(size_of::<InodeData>() <= 64);

/// Reads the inode `nid` of an image.
pub(crate) fn read(sb: &Super, nid: u64) -> Result<NewInode<Composefs>> {
    let inode = sb.image.inode(nid).map_err(|error| sb.report(nid, error))?;

    if inode.is_whiteout() {
        // A name leads here only if its entry gives another file type, and a
        // file handle only if it was made up.
        return Err(sb.report(
            nid,
            format::Error::Corrupt("whiteout is given for something else").into(),
        ));
    }
    let kind = match inode.node.file_type() {
        FileType::Directory => Kind::directory(),
        FileType::Symlink => Kind::symlink(),
        FileType::Regular if inode.node.is_external() => Kind::backed_file(),
        FileType::Regular => Kind::inline_file(),
        FileType::CharDevice | FileType::BlockDevice | FileType::Fifo | FileType::Socket => {
            Kind::special(inode.mode, inode.rdev).ok_or(EUCLEAN)?
        }
    };

    Ok(NewInode {
        kind,
        mode: inode.mode,
        nlink: inode.nlink,
        uid: inode.uid,
        gid: inode.gid,
        size: inode.node.size(),
        seconds: inode.mtime.sec,
        nanoseconds: inode.mtime.nsec,
        may_have_acl: inode.node.has_xattrs() && sb.image.superblock().has_acl(),
        data: InodeData {
            node: inode.node,
            backing: BackingSlot::new(),
            proof: ProofState::new(),
        },
    })
}
