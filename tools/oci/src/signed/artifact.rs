// SPDX-License-Identifier: GPL-2.0-only
//! The artifact that has the signatures of an image: a layer for each, annotated with what is
//! signed.

use anyhow::{bail, ensure, Context, Result};
use composefs_format::MAX_SIGNATURE_SIZE;
use composefs_tools::fsverity::Digest;
use composefs_tools::quote;
use serde_json::{json, Value};

use super::{Place, Role, Seal, Signatures, Subject};
use crate::digest::BlobDigest;
use crate::manifest::{self, Descriptor, Manifest, Named, OCI_MANIFEST};

/// The type of the artifact.
pub const METADATA: &str = "application/vnd.composefs.metadata.v1";
/// The type of a signature in it.
const PKCS7: &str = "application/vnd.composefs.signature.v1+pkcs7";
/// The type of its configuration, which is [`CONFIG`].
const EMPTY: &str = "application/vnd.oci.empty.v1+json";
/// Its configuration.
pub const CONFIG: &[u8] = b"{}";
/// Most layers: of every kind that is specified there are fewer.
const LAYERS_MAX: usize = 32;

/// An artifact.
#[derive(Clone, Debug)]
pub struct Artifact {
    /// The digest of its manifest.
    pub digest: BlobDigest,
    /// Its manifest.
    pub manifest_text: Vec<u8>,
    /// What that says.
    pub manifest: Manifest,
    /// Its layers.
    pub blobs: Vec<Vec<u8>>,
}

impl Artifact {
    /// Reads the artifact whose manifest is `text`. Nothing larger than a signature is asked for
    /// with `blob`.
    ///
    /// # Errors
    /// If it is not one that has signatures of the image `subject`.
    pub fn read(
        text: Vec<u8>,
        subject: &BlobDigest,
        blob: impl Fn(&Descriptor) -> Result<Vec<u8>>,
    ) -> Result<Self> {
        let Named::Manifest(manifest) = manifest::parse(&text)? else {
            bail!("is an index");
        };
        let kind = manifest.artifact_type().unwrap_or_default();
        ensure!(
            kind == METADATA,
            "is not what it is said to be, but {}",
            quote::bytes(kind.as_bytes())
        );
        match &manifest.subject {
            Some(about) if about == subject => {}
            Some(about) => bail!("is about another image, {about}"),
            None => bail!("is about no image"),
        }
        let config = &manifest.config;
        ensure!(
            config.media_type == EMPTY && config.digest == BlobDigest::of(CONFIG),
            "has a configuration, which it should not have"
        );
        let count = manifest.layers.len();
        ensure!(
            count <= LAYERS_MAX,
            "has {count} layers, more than {LAYERS_MAX}"
        );
        let mut blobs = Vec::new();
        for layer in &manifest.layers {
            let (digest, size) = (&layer.digest, layer.size);
            ensure!(
                layer.media_type == PKCS7,
                "layer {digest} is not a signature"
            );
            ensure!(
                size <= MAX_SIGNATURE_SIZE as u64,
                "layer {digest} is of {size} bytes: no signature is of more than {MAX_SIGNATURE_SIZE}"
            );
            blobs.push(blob(layer)?);
        }
        Ok(Self {
            digest: BlobDigest::of(&text),
            manifest_text: text,
            manifest: *manifest,
            blobs,
        })
    }

    /// Makes one of the signatures of an image.
    ///
    /// # Errors
    /// If there is no memory.
    pub fn make(subject: &Subject, seals: &[Seal]) -> Result<Self> {
        let describe = |kind: &str, data: &[u8]| json!({"mediaType": kind, "digest": BlobDigest::of(data).as_str(), "size": data.len()});
        let layers = seals.iter().map(|seal| {
            let mut layer = describe(PKCS7, &seal.signature);
            let key = seal.role.key(seal.digest.algorithm());
            layer["annotations"] = json!({key: seal.digest.to_string()});
            layer
        });
        let text = json!({
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "artifactType": METADATA,
            "config": describe(EMPTY, CONFIG),
            "layers": layers.collect::<Vec<Value>>(),
            "subject": describe(subject.manifest.media_type(), subject.manifest_text),
        });
        let at = |descriptor: &Descriptor| {
            let mut blobs = seals.iter().map(|seal| &seal.signature);
            let blob = blobs.find(|blob| BlobDigest::of(blob) == descriptor.digest);
            blob.cloned().context("is not there")
        };
        Self::read(serde_json::to_vec(&text)?, subject.digest, at)
    }

    /// What it has for an image.
    ///
    /// # Errors
    /// If a digest in it is none.
    pub fn signatures(&self, subject: &Subject) -> Result<Signatures> {
        let mut seals = Vec::new();
        for (layer, blob) in self.manifest.layers.iter().zip(&self.blobs) {
            for role in subject.roles() {
                seals.extend(seal(role, layer, blob, subject)?);
            }
        }
        Ok(Signatures {
            place: Place::Artifact(self.digest.clone()),
            seals,
        })
    }
}

fn seal(role: Role, layer: &Descriptor, blob: &[u8], subject: &Subject) -> Result<Option<Seal>> {
    let key = role.key(subject.algorithm);
    let Some(digest) = layer.annotations.get(&key) else {
        return Ok(None);
    };
    let digest = Digest::parse_hex(digest.as_bytes());
    Ok(Some(Seal {
        role,
        digest: digest.with_context(|| format!("annotation {key}"))?,
        signature: blob.to_vec(),
    }))
}
