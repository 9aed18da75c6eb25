// SPDX-License-Identifier: GPL-2.0-only
//! Signatures of images in a repository: artifacts, which are streams as any other, and what refers
//! to them.

use std::io::Read;

use anyhow::{bail, ensure, Context, Result};
use composefs_format::MAX_SIGNATURE_SIZE;
use composefs_repository::stream::Chunk;
use composefs_repository::Repository;
use composefs_tools::fsverity::Digest;

use super::artifact::{Artifact, CONFIG, METADATA};
use super::{inline, Seal, Signatures, Subject};
use crate::digest::BlobDigest;
use crate::image::{self, Fetched, Image};
use crate::layers::{Layer, BLOB};
use crate::manifest::Descriptor;
use crate::referrer;
use crate::text::open_stream;

impl<'a> Subject<'a> {
    /// An image in a repository.
    pub fn of(repository: &Repository, image: &'a Image) -> Self {
        Self {
            digest: &image.digest,
            manifest_text: &image.manifest_text,
            manifest: &image.manifest,
            config_text: &image.config_text,
            algorithm: repository.algorithm(),
            version: repository.metadata().erofs_formats().default(),
        }
    }
}

/// Keeps an artifact that is about an image.
///
/// # Errors
/// If it cannot be written.
pub fn keep(repository: &Repository, subject: &BlobDigest, artifact: &Artifact) -> Result<()> {
    let mut layers = Vec::new();
    for (layer, blob) in Layer::all(&artifact.manifest, CONFIG)?
        .iter()
        .zip(&artifact.blobs)
    {
        layers.push((layer.id.clone(), layer.import(repository, &blob[..])?));
    }
    let fetched = Fetched {
        digest: artifact.digest.clone(),
        manifest_text: artifact.manifest_text.clone(),
        manifest: artifact.manifest.clone(),
        config_text: CONFIG.to_vec(),
        layers,
    };
    image::write(repository, &fetched, None, None)?;
    referrer::add(repository, subject, &artifact.digest)
}

/// The signatures of an image that are kept: those in its manifest first.
///
/// # Errors
/// If some are damaged.
pub fn all(repository: &Repository, image: &Image) -> Result<Vec<Signatures>> {
    let subject = Subject::of(repository, image);
    let mut all = Vec::from_iter(inline::read(&subject)?);
    for digest in referrer::all(repository, &image.digest)? {
        let read = || read(repository, &digest, &subject);
        all.extend(read().with_context(|| format!("artifact {digest}"))?);
    }
    Ok(all)
}

/// Those of the composefs image that is mounted, which has this digest, for the kernel.
///
/// # Errors
/// If some are damaged.
pub fn of_composefs(repository: &Repository, image: &Image, digest: &Digest) -> Result<Vec<Seal>> {
    let subject = Subject::of(repository, image);
    let all = all(repository, image)?;
    let seals = all.iter().filter_map(|found| found.merged(&subject).ok());
    Ok(seals
        .filter(|seal| seal.digest == *digest)
        .cloned()
        .collect())
}

/// `None` if the artifact is of another kind.
fn read(
    repository: &Repository,
    digest: &BlobDigest,
    subject: &Subject,
) -> Result<Option<Signatures>> {
    let artifact = Image::open(repository, &format!("@{digest}"))?;
    if artifact.manifest.artifact_type() != Some(METADATA) {
        return Ok(None);
    }
    let blob = |descriptor: &Descriptor| blob(repository, &artifact, descriptor);
    let artifact = Artifact::read(artifact.manifest_text.clone(), subject.digest, blob)?;
    artifact.signatures(subject).map(Some)
}

/// The signature that is a layer.
fn blob(repository: &Repository, artifact: &Image, descriptor: &Descriptor) -> Result<Vec<u8>> {
    let Some(stream) = artifact.refs.get(descriptor.digest.as_str()) else {
        bail!("has no layer {}", descriptor.digest);
    };
    let mut reader = open_stream(repository, stream, BLOB)?;
    let Some(Chunk::External(object)) = reader.next_chunk()? else {
        bail!("layer {} is damaged", descriptor.digest);
    };
    let mut blob = Vec::new();
    let object = repository.object(&object)?;
    object
        .take(MAX_SIGNATURE_SIZE as u64 + 1)
        .read_to_end(&mut blob)?;
    ensure!(
        BlobDigest::of(&blob) == descriptor.digest,
        "layer {} is damaged",
        descriptor.digest
    );
    Ok(blob)
}
