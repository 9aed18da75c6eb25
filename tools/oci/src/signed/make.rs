// SPDX-License-Identifier: GPL-2.0-only
//! Signing an image that is in a repository.

use anyhow::{bail, Context, Result};
use composefs_repository::Repository;
use composefs_tools::fsverity::Digest;
use serde_json::Value;

use super::artifact::Artifact;
use super::{inline, kept, Role, Seal, Subject};
use crate::digest::BlobDigest;
use crate::image::{self, title, Fetched, Image};
use crate::manifest::{self, Named};
use crate::origin;

/// What is to be signed of an image, and the digests.
///
/// # Errors
/// If it has no composefs image, or that is damaged.
pub fn digests(repository: &Repository, image: &Image) -> Result<Vec<(Role, Digest)>> {
    let composefs = image.composefs(repository)?;
    repository.object(&composefs)?;
    let subject = Subject::of(repository, image);
    let digest = |role| (role, subject.digest_of(role).unwrap_or(composefs));
    Ok(subject.roles().map(digest).into())
}

/// Keeps signatures of an image in an artifact. Its digest is what comes back.
///
/// # Errors
/// If it cannot be written.
pub fn attach(repository: &Repository, image: &Image, seals: &[Seal]) -> Result<BlobDigest> {
    let artifact = Artifact::make(&Subject::of(repository, image), seals)?;
    kept::keep(repository, &image.digest, &artifact)?;
    repository.sync()?;
    Ok(artifact.digest)
}

/// Makes an image with signatures in its manifest, which is another manifest then, and gives it
/// the name `name`. Its digest is what comes back.
///
/// # Errors
/// If it cannot be written.
pub fn include(
    repository: &Repository,
    name: &str,
    image: Image,
    seals: &[Seal],
) -> Result<BlobDigest> {
    if name.starts_with('@') {
        bail!("{}: the image that is made of it needs a name", title(name));
    }
    let mut manifest: Value = serde_json::from_slice(&image.manifest_text)?;
    inline::write(&mut manifest, seals).with_context(|| title(name))?;
    let manifest_text = serde_json::to_vec(&manifest)?;
    let Named::Manifest(manifest) = manifest::parse(&manifest_text)? else {
        bail!("{}: is an index", title(name));
    };
    let layers = image.layers()?;
    let fetched = Fetched {
        digest: BlobDigest::of(&manifest_text),
        manifest_text,
        manifest: *manifest,
        config_text: image.config_text,
        layers,
    };
    image::write_manifest(repository, &fetched)?;
    // The layers are where they were.
    if let Some(origin) = origin::noted(repository, &image.digest) {
        origin::note_text(repository, &fetched.digest, &origin)?;
    }
    image::name(repository, &fetched.digest, name)?;
    repository.sync()?;
    Ok(fetched.digest)
}
