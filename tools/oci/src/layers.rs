// SPDX-License-Identifier: GPL-2.0-only
//! The layers of a manifest: what each is called in a repository, and how it becomes a stream.
//!
//! Those of an image are archives, and called by what they are when decompressed. What an artifact
//! has are blobs of any kind, and called by what they are; archives are split there as well.

use std::io::Read;

use anyhow::{bail, Context, Result};
use composefs_repository::stream::{ContentType, Reader, Writer};
use composefs_repository::{Category, Repository};
use composefs_tools::fsverity::Digest;
use composefs_tools::store::Unnamed;

use crate::checked::Checked;
use crate::compression::Compression;
use crate::digest::BlobDigest;
use crate::manifest::{Config, Descriptor, Manifest};
use crate::{layer, tag};

/// What the stream of a blob is of that is not an archive.
pub(crate) const BLOB: ContentType = ContentType(*b"oci_blob");
/// The archives that an artifact may have, as composefs-rs knows them.
const ARCHIVES: [&str; 2] = [
    "application/vnd.oci.image.layer.v1.tar",
    "application/vnd.oci.image.layer.nondistributable.v1.tar",
];

/// A layer.
#[derive(Clone, Debug)]
pub struct Layer<'a> {
    /// The blob.
    pub descriptor: &'a Descriptor,
    /// What it is called in a repository.
    pub id: BlobDigest,
    form: Form,
}

/// What a layer is.
#[derive(Clone, Copy, Debug)]
enum Form {
    /// An archive that has the digest which it is called by.
    Archive,
    /// An archive of which only the blob's digest is known.
    BlobOfArchive,
    /// Anything.
    Blob,
}

impl<'a> Layer<'a> {
    /// Those of a manifest, the lowest first.
    ///
    /// # Errors
    /// If it is the manifest of an image, and they or the configuration are not what those have.
    pub fn all(manifest: &'a Manifest, config_text: &[u8]) -> Result<Vec<Self>> {
        let layers = &manifest.layers;
        if !manifest.is_image() {
            let layer = |descriptor: &'a Descriptor| Self {
                id: descriptor.digest.clone(),
                form: match is_archive(&descriptor.media_type) {
                    true => Form::BlobOfArchive,
                    false => Form::Blob,
                },
                descriptor,
            };
            return Ok(layers.iter().map(layer).collect());
        }
        let config = Config::parse(config_text)
            .with_context(|| format!("blob {}", manifest.config.digest))?;
        let diff_ids = config.diff_ids();
        if layers.len() != diff_ids.len() {
            bail!(
                "its manifest has {} layers, its configuration {}",
                layers.len(),
                diff_ids.len()
            );
        }
        let layer = |(descriptor, id): (&'a Descriptor, &BlobDigest)| Self {
            descriptor,
            id: id.clone(),
            form: Form::Archive,
        };
        Ok(layers.iter().zip(diff_ids).map(layer).collect())
    }

    /// How the blob is compressed of what the stream has.
    ///
    /// # Errors
    /// If it is in a way that is not known.
    pub fn compression(&self) -> Result<Compression> {
        match self.form {
            Form::Blob => Ok(Compression::None),
            Form::Archive | Form::BlobOfArchive => self.descriptor.compression(),
        }
    }

    /// The objects that it consists of, if it was pulled before.
    pub fn objects(&self, repository: &Repository) -> Option<Vec<Digest>> {
        let stream = repository.lookup(Category::Streams, &tag::layer(&self.id));
        let file = repository.object(&stream.ok()??).ok()?;
        let reader = Reader::open(file, repository.algorithm()).ok()?;
        Some(reader.objects().to_vec())
    }

    /// Reads it from `blob`, and makes the stream of it that it is called by.
    ///
    /// # Errors
    /// If it is not what it is said to be, or cannot be read or written.
    pub fn import(&self, repository: &Repository, blob: impl Read + Send) -> Result<Digest> {
        let stream = self.store(repository, blob)?;
        repository.set_name(Category::Streams, &tag::layer(&self.id), &stream)?;
        Ok(stream)
    }

    /// The same, without its being called by anything.
    ///
    /// # Errors
    /// As of [`Layer::import`].
    pub fn store(&self, repository: &Repository, blob: impl Read + Send) -> Result<Digest> {
        match self.form {
            Form::Archive => layer::store(repository, self.descriptor, Some(&self.id), blob),
            Form::BlobOfArchive => layer::store(repository, self.descriptor, None, blob),
            Form::Blob => store_blob(repository, self.descriptor, blob)
                .with_context(|| format!("layer {}", self.descriptor.digest)),
        }
    }
}

fn is_archive(media_type: &str) -> bool {
    let rest = ARCHIVES
        .iter()
        .find_map(|kind| media_type.strip_prefix(kind));
    matches!(rest, Some("" | "+gzip" | "+zstd"))
}

/// Makes one object of a blob, and a stream of that.
fn store_blob(repository: &Repository, descriptor: &Descriptor, blob: impl Read) -> Result<Digest> {
    let mut objects = Unnamed::new(repository.store());
    let mut blob = Checked::new(blob, descriptor.size);
    let object = objects.put_stream(&mut blob, descriptor.size)?;
    blob.expect(&descriptor.digest, descriptor.size)?;
    let mut writer = Writer::new(repository.algorithm(), BLOB)?;
    writer.external(&object, descriptor.size)?;
    let stream = writer.finish(&mut objects)?;
    objects.publish()?;
    repository.expect_protected()?;
    Ok(stream)
}
