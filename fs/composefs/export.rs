// SPDX-License-Identifier: GPL-2.0-only

//! File handles: what they may lead to.
//!
//! The number in a handle comes from outside, and behind most numbers there is something that can
//! be read as an inode: bytes of an xattr or a small file, say, which anybody may have written. So
//! a number is good only if a directory has a name for it. To find that out takes a walk of the
//! whole tree, which the first handle pays for whose inode is not in the cache.

use crate::{
    format::{NidSet, Search},
    image,
    superblock::Super,
    vfs::{
        buffer::{push, Buffer},
        directory::Operations as _,
        error::is_transient,
        export::Operations,
        inode::{Inode, Operations as _},
        superblock::SuperBlock,
    },
    Composefs,
};
use kernel::prelude::*;

/// The most memory that they may take: for an image of 16 GiB.
const MEMORY_MAX: u64 = 64 << 20;

impl Operations for Composefs {
    fn parent(dir: &Inode<Self>) -> Result<u64> {
        Self::lookup(dir, b"..")?
            .ok_or_else(|| Self::damaged(dir, "directory has no entry for its parent"))
    }

    fn is_named(sb: &SuperBlock<Self>, ino: u64) -> Result<bool> {
        let sb = sb.data();
        let mut is_among_some = false;
        let all = sb.named.get_or_make(|| {
            let (found, unread) = find_named(sb)?;
            is_among_some = found.contains(ino);
            // Next time it may be possible to read more.
            unread.map_or(Ok(found), Err)
        });
        match all {
            Ok(all) => Ok(all.contains(ino)),
            Err(_) if is_among_some => Ok(true),
            Err(error) => Err(error),
        }
    }
}

/// Walks the tree. Gives what was found, and the last error for which a directory could not be read
/// that may be readable another time.
fn find_named(sb: &Super) -> Result<(NidSet<Buffer>, Option<Error>)> {
    let size = sb.image.nid_set_size();
    if size > MEMORY_MAX {
        return Err(EFBIG);
    }
    let mut search = Search::new(&sb.image, Buffer::zeroed(size as usize)?);
    let mut unread = KVVec::new();
    push(&mut unread, sb.image.root())?;
    let mut failure = None;

    while let Some(dir) = unread.pop() {
        let mut is_noted = Ok(());
        let read = search.read(dir, &mut |below| {
            is_noted = push(&mut unread, below);
            is_noted.is_ok()
        });
        is_noted?;
        match read {
            Ok(()) => {}
            Err(image::Error::Read(error)) if is_transient(error) => return Err(error),
            Err(error) => {
                // Names in there cannot be looked up either.
                let errno = sb.report(dir, error);
                if matches!(error, image::Error::Read(_)) {
                    failure = Some(errno);
                }
            }
        }
    }
    Ok((search.finish(), failure))
}
