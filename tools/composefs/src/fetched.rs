// SPDX-License-Identifier: GPL-2.0-only
//! Images that were fetched, and have no manifest: names that lead to composefs images.

use anyhow::{bail, Context, Result};
use composefs_oci::image::{self, title, Image};
use composefs_oci::signed::kept;
use composefs_repository::{Category, Repository};
use composefs_tools::fsverity::Digest;

/// The composefs image of this name: that of an image with a manifest, or else one without.
pub fn composefs(repository: &Repository, name: &str) -> Result<Digest> {
    open(repository, name).map(|(_, digest)| digest)
}

/// The same; and the image with a manifest, if it is one.
pub fn open(repository: &Repository, name: &str) -> Result<(Option<Image>, Digest)> {
    match Image::open(repository, name) {
        Ok(image) => {
            let digest = image.composefs(repository).with_context(|| title(name))?;
            Ok((Some(image), digest))
        }
        Err(error) => Ok((None, find(repository, name)?.ok_or(error)?)),
    }
}

/// The signatures of a composefs image that are here: those that lead to it by its manifest, or else
/// the one with which it was fetched.
pub fn signatures(
    repository: &Repository,
    with_manifest: Option<&Image>,
    digest: &Digest,
) -> Result<Vec<Vec<u8>>> {
    let Some(image) = with_manifest else {
        return Ok(repository.signature(digest).into_iter().collect());
    };
    let seals = kept::of_composefs(repository, image, digest)?;
    Ok(seals.into_iter().map(|seal| seal.signature).collect())
}

/// The one without a manifest that has this name.
pub fn find(repository: &Repository, name: &str) -> Result<Option<Digest>> {
    // Not every name that an image with a manifest can have is one that these can.
    let Ok(Some(hex)) = repository.get_ref(Category::Images, name) else {
        return Ok(None);
    };
    match repository.lookup(Category::Images, &hex)? {
        Some(digest) => Ok(Some(digest)),
        None => bail!("{}: leads to {hex}, which is not there", title(name)),
    }
}

/// All of them: their names and digests.
pub fn all(repository: &Repository) -> Result<Vec<(String, String)>> {
    let links = repository.refs(Category::Images)?.into_iter();
    Ok(links
        .map(|link| (link.name.clone(), link.target_name().to_owned()))
        .collect())
}

/// Gives one a name, in place of what has it.
pub fn name(repository: &Repository, name: &str, digest: &Digest) -> Result<()> {
    image::expect_name(name)?;
    let hex = digest.to_string();
    repository.set_name(Category::Images, &hex, digest)?;
    repository.set_ref(Category::Images, name, &hex)?;
    // An image with a manifest would be found first.
    image::unname(repository, name).map(drop)
}

/// Takes all names of one away, or only this one. Whether there was one.
pub fn unname(repository: &Repository, name: &str, also_others: bool) -> Result<bool> {
    let Ok(Some(hex)) = repository.get_ref(Category::Images, name) else {
        return Ok(false);
    };
    for (other, target) in all(repository)? {
        if other == name || also_others && target == hex {
            repository.remove_ref(Category::Images, &other)?;
        }
    }
    Ok(true)
}
