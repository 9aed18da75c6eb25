// SPDX-License-Identifier: GPL-2.0-only

//! The UUID of a mounted image: one for each content, wherever it is mounted.
//!
//! overlayfs tells its layers by it, and `name_to_handle_at(2)`, NFS and fanotify know the file
//! system by a number that is made from it.

use crate::{
    format::Source,
    image::{Error, Manifest},
};

/// In RFC 9562's layout for those that are made in a way of one's own, version 8.
///
/// It is made from the fs-verity digest of the image. Without one, it is made from what its file
/// system knows the file by, and from its first block, which has the superblock and the first
/// inodes.
pub(crate) fn of(manifest: &Manifest) -> Result<[u8; 16], Error> {
    let digest = manifest.file().verity_digest();
    let mut uuid = match digest
        .as_ref()
        .and_then(|digest| digest.as_bytes().first_chunk())
    {
        Some(start) => *start,
        None => manifest.file().fingerprint(&manifest.block(0)?),
    };
    let [_, _, _, _, _, _, version, _, variant, ..] = &mut uuid;
    *version = *version & 0x0f | 0x80;
    *variant = *variant & 0x3f | 0x80;
    Ok(uuid)
}
