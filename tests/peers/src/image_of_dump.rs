// SPDX-License-Identifier: GPL-2.0-only
//! `image-of-dump sha256|sha512`: from a dump to the image of format version 2 that composefs-rs
//! makes of it. Its `mkcomposefs` makes only what the C tool makes, too.

use std::io::{Read, Write};

use anyhow::{bail, Result};
use composefs::dumpfile::dumpfile_to_filesystem;
use composefs::erofs::format::FormatVersion;
use composefs::erofs::writer::{mkfs_erofs_versioned, ValidatedFileSystem};
use composefs::fsverity::{FsVerityHashValue, Sha256HashValue, Sha512HashValue};

fn image<D: FsVerityHashValue>(dump: &str) -> Result<Box<[u8]>> {
    let tree = ValidatedFileSystem::new(dumpfile_to_filesystem::<D>(dump)?)?;
    Ok(mkfs_erofs_versioned(&tree, FormatVersion::V2))
}

fn main() -> Result<()> {
    let mut dump = String::new();
    std::io::stdin().read_to_string(&mut dump)?;
    let image = match std::env::args().nth(1).as_deref() {
        Some("sha256") => image::<Sha256HashValue>(&dump)?,
        Some("sha512") => image::<Sha512HashValue>(&dump)?,
        _ => bail!("sha256 or sha512?"),
    };
    std::io::stdout().write_all(&image)?;
    Ok(())
}
