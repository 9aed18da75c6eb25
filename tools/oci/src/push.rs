// SPDX-License-Identifier: GPL-2.0-only
//! Putting an image somewhere: its layers, its configuration, its manifest, what is about it, and at
//! the very end a name for it.

mod layer;

use anyhow::{anyhow, Context, Result};
use composefs_http::Content;
use composefs_repository::Repository;
use serde_json::Value;

use crate::destination::{Destination, Put};
use crate::digest::BlobDigest;
use crate::image::Image;
use crate::layers::Layer;
use crate::origin;
use crate::reference::Reference;
use crate::referrer;
use crate::signed::{inline, kept, Subject};
use crate::source::registry::Settings;

use layer::{Blob, Sending};

/// What was put.
#[derive(Debug)]
pub struct Pushed {
    /// The digest of the manifest: another one than here if layers were compressed anew.
    pub digest: BlobDigest,
    /// The layers that were compressed anew, as nobody has them any more as they were.
    pub compressed: Vec<BlobDigest>,
}

/// Puts an image of the repository, and what is about it. Layers are kept as they are when
/// decompressed: what they were is copied from where the image came from, as `settings` say.
///
/// # Errors
/// If it cannot be. Then it has no name there.
pub fn push(
    repository: &Repository,
    image: &Image,
    destination: &dyn Destination,
    settings: &Settings,
) -> Result<Pushed> {
    let origin = origin::noted(repository, &image.digest);
    let origin: Option<Reference> = origin.and_then(|origin| origin.parse().ok());
    let mut sending = Sending::new(repository, destination, origin, settings);
    let blobs = put_blobs(&mut sending, image)?;
    let text = manifest_text(repository, image, &blobs)?;
    let manifest = Put::new(image.manifest.media_type(), &text);
    destination.put_manifest(&manifest)?;
    if manifest.digest == image.digest {
        for digest in referrer::all(repository, &image.digest)? {
            let context = || format!("artifact {digest}");
            put_referrer(&mut sending, &digest, &image.digest).with_context(context)?;
        }
    }
    destination.name(&manifest)?;
    Ok(Pushed {
        digest: manifest.digest,
        compressed: sending.compressed,
    })
}

/// Puts the layers and the configuration; the layers' blobs are what comes back.
fn put_blobs(sending: &mut Sending, image: &Image) -> Result<Vec<Blob>> {
    let mut blobs = Vec::new();
    let layers = Layer::all(&image.manifest, &image.config_text)?;
    for (layer, (_, stream)) in layers.iter().zip(image.layers()?) {
        let put = sending.put(layer, &stream);
        blobs.push(put.with_context(|| format!("layer {}", layer.descriptor.digest))?);
    }
    let config = &image.manifest.config.digest;
    sending.put_content(config, &Content::bytes(&image.config_text))?;
    Ok(blobs)
}

/// Puts an artifact that is about an image.
fn put_referrer(sending: &mut Sending, digest: &BlobDigest, subject: &BlobDigest) -> Result<()> {
    let artifact = Image::open(sending.repository, &format!("@{digest}"))?;
    let blobs = put_blobs(sending, &artifact)?;
    if !are_layers_of(&blobs, &artifact) {
        return Err(anyhow!("its layers cannot be had any more as they were"));
    }
    let kind = artifact.manifest.artifact_type().unwrap_or_default();
    let manifest = Put::new(artifact.manifest.media_type(), &artifact.manifest_text);
    sending.destination.put_referrer(&manifest, kind, subject)
}

/// Whether these blobs are the layers that the manifest has.
fn are_layers_of(blobs: &[Blob], image: &Image) -> bool {
    let layers = image.manifest.layers.iter();
    blobs
        .iter()
        .zip(layers)
        .all(|(blob, layer)| blob.digest == layer.digest)
}

/// The manifest, with these blobs in place of those that there were. One that is another for that
/// has its signatures with it: what is about the manifest that it was is about nothing there.
fn manifest_text(repository: &Repository, image: &Image, blobs: &[Blob]) -> Result<Vec<u8>> {
    if are_layers_of(blobs, image) {
        return Ok(image.manifest_text.clone());
    }
    let mut manifest: Value = serde_json::from_slice(&image.manifest_text)?;
    let layers = manifest.get_mut("layers").and_then(Value::as_array_mut);
    let layers = layers.ok_or_else(|| anyhow!("is not a manifest"))?;
    for (layer, blob) in layers.iter_mut().zip(blobs) {
        let layer = layer.as_object_mut();
        let layer = layer.ok_or_else(|| anyhow!("has a layer that is none"))?;
        layer.insert("digest".into(), blob.digest.as_str().into());
        layer.insert("size".into(), blob.size.into());
    }
    if image.manifest.is_image() {
        let subject = Subject::of(repository, image);
        let signed = kept::all(repository, image)?;
        if let Some(signatures) = signed.first() {
            let seals: Vec<_> = signatures.seals(&subject).cloned().collect();
            inline::write(&mut manifest, &seals)?;
        }
    }
    Ok(serde_json::to_vec(&manifest)?)
}
