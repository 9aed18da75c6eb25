// SPDX-License-Identifier: GPL-2.0-only
//! What an image needs, and what of that is not here.

use std::collections::HashSet;
use std::fs::File;

use anyhow::{anyhow, bail, Result};
use composefs_repository::Repository;
use composefs_tools::contents::{self, Filter};
use composefs_tools::fsverity::{object_path, Algorithm, Digest};

/// An object that is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Its digest.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
}

/// The objects of an image that the repository has not, each once, in the order in which the image
/// has them.
///
/// # Errors
/// If it is no image, or one whose objects cannot be known by their digests.
pub fn objects(repository: &Repository, image: File) -> Result<Vec<Wanted>> {
    let mut wanted = Vec::new();
    visit(repository.algorithm(), image, &mut |object| {
        if !repository.has_object_of(&object.digest, object.size)? {
            wanted.push(object);
        }
        Ok(())
    })?;
    Ok(wanted)
}

/// All objects of an image, each once, in the order in which the image has them.
///
/// # Errors
/// As of [`objects`].
pub fn of_image(repository: &Repository, image: File) -> Result<Vec<Wanted>> {
    let mut wanted = Vec::new();
    visit(repository.algorithm(), image, &mut |object| {
        wanted.push(object);
        Ok(())
    })?;
    Ok(wanted)
}

/// Calls `each` with the objects of an image, each once.
///
/// # Errors
/// As of [`objects`]; that of `each`.
pub(crate) fn visit(
    algorithm: Algorithm,
    image: File,
    each: &mut dyn FnMut(Wanted) -> Result<()>,
) -> Result<()> {
    let image = contents::open_file(image)?;
    let mut seen = HashSet::new();
    contents::visit(&image, &Filter::new(&[])?, false, &mut |entry| {
        let record = entry.record;
        let Some(object) = record.object().filter(|_| entry.hard_link.is_none()) else {
            return Ok(());
        };
        let digest = record.digest.ok_or_else(|| {
            anyhow!("has no digest: what comes for it could not be compared with anything")
        })?;
        if digest.algorithm() != algorithm {
            let (its, ours) = (digest.algorithm().name(), algorithm.name());
            bail!("its digest is one of {its}, those of the repository are of {ours}");
        }
        // Where the driver will look for it.
        let path = object_path(&digest);
        if object.strip_prefix(b"/").unwrap_or(object) != path.as_bytes() {
            bail!("its object is not where its digest says");
        }
        let size = record.size;
        match seen.insert(digest) {
            true => each(Wanted { digest, size }),
            false => Ok(()),
        }
    })
}
