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
        None => fingerprint(manifest)?,
    };
    let [_, _, _, _, _, _, version, _, variant, ..] = &mut uuid;
    *version = *version & 0x0f | 0x80;
    *variant = *variant & 0x3f | 0x80;
    Ok(uuid)
}

/// The 128-bit FNV-1a hash, of words in place of bytes.
fn fingerprint(manifest: &Manifest) -> Result<[u8; 16], Error> {
    const OFFSET: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    const PRIME: u128 = 0x0100_0000_0000_0000_0000_013b;

    let file = manifest.file();
    let block = manifest.block(0)?;
    let file_system = file.file_system();
    let (seconds, nanoseconds) = file.modified();
    let words = block
        .chunks_exact(8)
        .chain(file_system.chunks_exact(8))
        .filter_map(|word| word.first_chunk().copied())
        .map(u64::from_le_bytes);

    let hash = words
        .chain([
            file.inode_number(),
            file.size(),
            seconds as u64,
            nanoseconds.into(),
        ])
        .fold(OFFSET, |hash, word| {
            (hash ^ u128::from(word)).wrapping_mul(PRIME)
        });
    Ok(hash.to_le_bytes())
}
