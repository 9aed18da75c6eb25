// SPDX-License-Identifier: GPL-2.0-only
//! Artifacts that are about an image: which are there is known by references, as composefs-rs has
//! them, `oci-referrers/SUBJECT/ARTIFACT`.

use anyhow::Result;
use composefs_repository::{Category, Repository};

use crate::digest::BlobDigest;
use crate::tag;

/// Where the references are.
const PREFIX: &str = "oci-referrers/";

/// Says that an artifact is about an image; both by their manifests.
///
/// # Errors
/// If that cannot be written.
pub fn add(repository: &Repository, subject: &BlobDigest, artifact: &BlobDigest) -> Result<()> {
    let reference = format!("{PREFIX}{subject}/{artifact}");
    repository.set_ref(Category::Streams, &reference, &tag::manifest(artifact))
}

/// The artifacts that are about an image.
///
/// # Errors
/// If they cannot be read.
pub fn all(repository: &Repository, subject: &BlobDigest) -> Result<Vec<BlobDigest>> {
    let place = format!("{PREFIX}{subject}/");
    let references = repository.refs(Category::Streams)?.into_iter();
    let artifacts = references.filter(|link| link.name.starts_with(&place));
    Ok(artifacts
        .filter_map(|link| tag::manifest_digest(link.target_name()))
        .collect())
}

/// The image that a reference's artifact is about. `None` if it is the reference of something else.
pub fn subject_digest(reference: &str) -> Option<BlobDigest> {
    let (subject, _) = reference.strip_prefix(PREFIX)?.split_once('/')?;
    subject.parse().ok()
}

/// The stream of that: without it, the artifact is about nothing.
pub fn subject(reference: &str) -> Option<String> {
    Some(tag::manifest(&subject_digest(reference)?))
}
