// SPDX-License-Identifier: GPL-2.0-only

//! Regular files: small ones are in the image, others are objects.

use crate::{
    format::{External, FileType, Verity},
    inode::node,
    proof::Proof,
    store::{Complaint, Wanted},
    vfs::{
        backed_file,
        backing::{self, BackingFile},
        buffer::Buffer,
        error::EUCLEAN,
        inline_file,
        inode::Inode,
        log::pr_err_ratelimited,
        path,
    },
    Composefs,
};
use kernel::{cred::Credential, fs::LocalFile, prelude::*};

impl inline_file::Operations for Composefs {
    fn read(inode: &Inode<Self>, offset: u64, out: &mut [u8]) -> Result<usize> {
        let sb = inode.super_block().data();

        sb.image
            .read_data(&node(inode), offset, out)
            .map_err(|error| sb.report(inode.number(), error))
    }
}

impl backed_file::Operations for Composefs {
    fn open<'a>(inode: &'a Inode<Self>, user: &LocalFile) -> Result<&'a BackingFile> {
        let level = inode.super_block().data().store.level().get();

        match inode.data().object().opened(level) {
            Some(file) => Ok(file),
            None => find_object(inode, Some(user), level),
        }
    }

    fn is_verified(inode: &Inode<Self>) -> bool {
        let sb = inode.super_block().data();
        let proof = inode.data().object().proof;

        if sb.store.level().get() == Verity::Off {
            return false;
        }
        match proof.get() {
            // What is wrong with a file's attributes is for its open to tell.
            Proof::Unknown => sb.image.has_digest(&node(inode)).is_ok_and(|has_digest| {
                proof.note(has_digest);
                has_digest
            }),
            // At `require`, such a file cannot be opened at all.
            proof => proof != Proof::NoDigest,
        }
    }

    fn credential(inode: &Inode<Self>) -> &Credential {
        inode.super_block().data().store.credential()
    }
}

impl backing::Operations for Composefs {
    fn opened(inode: &Inode<Self>) -> Option<&BackingFile> {
        inode.data().object().backing.get()
    }

    fn find(inode: &Inode<Self>) -> Result<Option<&BackingFile>> {
        let node = node(inode);
        if node.file_type() != FileType::Regular || !node.is_external() {
            return Ok(None);
        }
        let level = inode.super_block().data().store.level().get();
        find_object(inode, None, level).map(Some)
    }
}

/// What the image says of the object of an inode.
#[inline(never)]
fn external(inode: &Inode<Composefs>) -> Result<External> {
    let sb = inode.super_block().data();

    sb.image
        .external(&node(inode))
        .map_err(|error| sb.report(inode.number(), error))?
        .ok_or(EUCLEAN)
}

/// Finds and checks the object of an inode. `user` is the file that is being opened, if this is for
/// one.
#[inline(never)] // Later opens do without its stack frame.
fn find_object<'a>(
    inode: &'a Inode<Composefs>,
    user: Option<&LocalFile>,
    level: Verity,
) -> Result<&'a BackingFile> {
    let sb = inode.super_block().data();
    let report = |error| sb.report(inode.number(), error);

    let external = external(inode)?;
    let redirect = external
        .redirect
        .ok_or_else(|| sb.corrupt(inode.number(), "external file names no object"))?;

    // One more for the NUL.
    let mut path = Buffer::zeroed(redirect.len().saturating_add(1))?;
    sb.image.read_xattr(&redirect, &mut path).map_err(report)?;
    let wanted = Wanted {
        path: path.as_c_str().ok_or(EUCLEAN)?,
        digest: external.digest,
        size: inode.size(),
    };

    let object = inode.data().object();
    object.open(&sb.store, &wanted, level).map_err(|refusal| {
        if refusal.is_fault() {
            let complaint = Complaint(&wanted, &refusal);
            match user.and_then(|user| path::shown(user).ok()) {
                Some(name) => pr_err_ratelimited!(sb.messages, "{}: {complaint}\n", &*name),
                None => {
                    pr_err_ratelimited!(sb.messages, "inode {}: {complaint}\n", inode.number());
                }
            }
        }
        refusal.errno()
    })
}
