// SPDX-License-Identifier: GPL-2.0-only

//! Inodes: from an image's to the VFS's. The number of an inode is its nid.

use crate::{
    format::{CompactNode, FileType, Node, XattrFilter, XattrIndex},
    proof::ProofState,
    store::Object,
    superblock::Super,
    vfs::{
        backing::BackingSlot,
        error::EUCLEAN,
        inode::{Inode, Kind, NewInode, Operations},
        superblock::SuperBlock,
    },
    Composefs,
};
use kernel::{prelude::*, sync::atomic::Atomic};

/// What the driver keeps for an inode, less what the VFS keeps; see [`node`].
pub(crate) struct InodeData {
    /// Where its parts are in the image.
    node: CompactNode,
    /// Bits of an `XattrFilter`; none before it was needed for the first time.
    pub(crate) xattr_filter: Atomic<u32>,
    /// What is known of the object of an external file.
    proof: ProofState,
    /// The object of an external file, once it was opened and checked.
    backing: BackingSlot,
}

impl InodeData {
    /// The object of an external file.
    pub(crate) fn object(&self) -> Object<'_> {
        Object {
            backing: &self.backing,
            proof: &self.proof,
        }
    }
}

// There is one of these for each cached inode. With the VFS's 560 bytes that is the most of which
// 14 go into 8 KiB.
const _: () = assert!(size_of::<Option<InodeData>>() <= 24);

/// Where the parts of an inode are in the image.
#[inline]
pub(crate) fn node(inode: &Inode<Composefs>) -> Node {
    inode.data().node.expand(inode.number(), inode.size())
}

/// Reads the root of an image that is being mounted.
pub(crate) fn read_root(sb: &Super) -> Result<(u64, NewInode<Composefs>)> {
    let nid = sb.image.root();
    let root = read(sb, nid)?;

    // SELinux asks for its label while others wait for the superblock to be complete: then it is in
    // the page cache.
    let _ = sb.image.read_visible_xattr(
        &root.data.node.expand(nid, root.size),
        XattrIndex::Security,
        b"selinux",
        &mut XattrFilter::from_bits(0),
        &mut [0; 256],
    );
    Ok((nid, root))
}

impl Operations for Composefs {
    fn read(sb: &SuperBlock<Self>, ino: u64) -> Result<NewInode<Self>> {
        read(sb.data(), ino)
    }

    fn damaged(inode: &Inode<Self>, what: &'static str) -> Error {
        inode.super_block().data().corrupt(inode.number(), what)
    }
}

/// Reads the inode `nid` of an image.
fn read(sb: &Super, nid: u64) -> Result<NewInode<Composefs>> {
    let inode = sb.image.inode(nid).map_err(|error| sb.report(nid, error))?;

    if inode.is_whiteout() {
        // A name leads here only if its entry gives another file type, and a file handle only if it
        // was made up.
        return Err(sb.corrupt(nid, "whiteout is given for something else"));
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
            node: inode.node.compact(),
            xattr_filter: Atomic::new(0),
            proof: ProofState::new(),
            backing: BackingSlot::new(),
        },
    })
}
