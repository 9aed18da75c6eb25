// SPDX-License-Identifier: GPL-2.0-only

//! Regular files: small ones are in the image, others are objects.

use crate::{
    format::Error,
    objects::{Complaint, Wanted},
    vfs::{
        backed_file, backing::BackingFile, buffer::Buffer, context::FileRef,
        credential::Credential, inline_file, inode::Inode, log::pr_err_ratelimited,
    },
    Composefs,
};
use kernel::prelude::*;

impl inline_file::Operations for Composefs {
    fn read(inode: &Inode<Self>, offset: u64, out: &mut [u8]) -> Result<usize> {
        let sb = inode.super_block().data();

        sb.image
            .read_data(&inode.data().node, offset, out)
            .map_err(|error| sb.report(inode.number(), error))
    }
}

impl backed_file::Operations for Composefs {
    fn open<'a>(inode: &'a Inode<Self>, user: FileRef<'_>) -> Result<&'a BackingFile> {
        match inode.data().backing.get() {
            Some(file) => Ok(file),
            None => find_object(inode, user),
        }
    }

    fn backing(inode: &Inode<Self>) -> Option<&BackingFile> {
        inode.data().backing.get()
    }

    fn credential(inode: &Inode<Self>) -> &Credential {
        inode.super_block().data().store.credential()
    }
}

/// Finds and checks the object of an inode. Only the first open gets here, or
/// several at once if they are the first; one of them prevails.
fn find_object<'a>(inode: &'a Inode<Composefs>, user: FileRef<'_>) -> Result<&'a BackingFile> {
    let sb = inode.super_block().data();
    let node = &inode.data().node;
    let report = |error| sb.report(inode.number(), error);

    let external = sb.image.external(node).map_err(report)?.ok_or(EUCLEAN)?;
    let redirect = external
        .redirect
        .ok_or(Error::Corrupt("external file names no object").into())
        .map_err(report)?;

    // One more for the NUL.
    let mut path = Buffer::zeroed(redirect.len().saturating_add(1))?;
    sb.image.read_xattr(&redirect, &mut path).map_err(report)?;
    let path = path.as_c_str().ok_or(EUCLEAN)?;

    let wanted = Wanted {
        path,
        digest: external.digest,
        size: node.size(),
    };
    match sb.store.open(&wanted) {
        Ok(file) => Ok(inode.data().backing.publish(file)),
        Err(refusal) => {
            if refusal.is_fault() {
                let name = user.path()?;
                pr_err_ratelimited!("{}: {}\n", &*name, Complaint(&wanted, &refusal));
            }
            Err(refusal.errno())
        }
    }
}
