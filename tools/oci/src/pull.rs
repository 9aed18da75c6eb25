// SPDX-License-Identifier: GPL-2.0-only
//! Copying an image into a repository.

use std::collections::HashMap;
use std::io::Read;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use anyhow::{bail, Context, Result};
use composefs_repository::{Category, Repository};
use composefs_sign::Certificate;
use composefs_tools::fsverity::Digest;

use crate::digest::BlobDigest;
use crate::filesystem::Stack;
use crate::image::{self, Fetched};
use crate::layers::Layer;
use crate::manifest::Platform;
use crate::signed::find::{self, Found as Signed};
use crate::signed::{kept, Subject};
use crate::source::{self, Found, Source};
use crate::tag;
use crate::there::There;

/// Who is told how far it is. From several threads.
pub trait Watch: Sync {
    /// So many bytes are to be fetched, of so many layers; and so many layers are there.
    fn begin(&self, bytes: u64, layers: usize, known: usize);
    /// A layer of so many bytes is begun.
    fn layer(&self, digest: &BlobDigest, bytes: u64) -> Advance<'_>;
    /// All is fetched: the image is made.
    fn compose(&self);
}

/// What is called when so many more bytes of a layer were fetched, and goes when it is done.
pub type Advance<'a> = Box<dyn Fn(u64) + Send + 'a>;

/// Copies the image for `platform` from `source`, and gives it `name`. The digest of its manifest
/// is what comes back. If there are `signers`, it has to be signed by those whom they vouch for:
/// nothing but the manifest and the configuration is read before that is known.
///
/// # Errors
/// If it cannot be read, is not what it should be, or cannot be written.
pub fn pull(
    repository: &Repository,
    source: &dyn Source,
    platform: &Platform,
    name: &str,
    signers: Option<&[Certificate]>,
    watch: &dyn Watch,
) -> Result<BlobDigest> {
    repository.expect_writable()?;
    // Before anything is fetched.
    tag::reference(name)?;
    let found = source::find(source, platform)?;
    found.manifest.expect_known_layers()?;
    let config_text = source::blob_text(source, &found.manifest.config)?;
    let signed = match signers {
        Some(signers) => Some(expect_signed(
            repository,
            source,
            &found,
            &config_text,
            signers,
        )?),
        None => None,
    };
    let layers = Layer::all(&found.manifest, &config_text)?;
    let is_image = found.manifest.is_image();
    let (layers, stack) = fetch(repository, source, &layers, is_image, watch)?;
    watch.compose();
    let fetched = Fetched {
        digest: found.digest,
        manifest_text: found.text,
        manifest: found.manifest,
        config_text,
        layers,
    };
    image::write(
        repository,
        &fetched,
        stack,
        signed.as_ref().map(|signed| &signed.held.digest),
    )?;
    if let Some(artifact) = signed.and_then(|signed| signed.artifact) {
        kept::keep(repository, &fetched.digest, &artifact)?;
    }
    image::name(repository, &fetched.digest, name)?;
    repository.sync()?;
    Ok(fetched.digest)
}

/// The signatures of an image that hold.
fn expect_signed(
    repository: &Repository,
    source: &dyn Source,
    found: &Found,
    config_text: &[u8],
    signers: &[Certificate],
) -> Result<Signed> {
    let subject = Subject {
        digest: &found.digest,
        manifest_text: &found.text,
        manifest: &found.manifest,
        config_text,
        algorithm: repository.algorithm(),
        version: repository.metadata().erofs_formats().default(),
    };
    if !found.manifest.is_image() {
        bail!("is an artifact: nothing in it could be signed");
    }
    find::find(source, &subject, signers)
}

/// What a layer is called, and its stream.
type Stream = (BlobDigest, Digest);

/// Fetches the layers that are not there, several at a time; and puts them on top of each other
/// meanwhile, if that is wanted.
fn fetch(
    repository: &Repository,
    source: &dyn Source,
    layers: &[Layer],
    is_image: bool,
    watch: &dyn Watch,
) -> Result<(Vec<Stream>, Option<Stack>)> {
    let mut streams = HashMap::new();
    let mut missing: Vec<&Layer> = Vec::new();
    for layer in layers {
        match repository.lookup(Category::Streams, &tag::layer(&layer.id))? {
            Some(stream) => drop(streams.insert(layer.id.clone(), stream)),
            None if missing.iter().any(|other| other.id == layer.id) => {}
            None => missing.push(layer),
        }
    }
    let sizes = missing.iter().map(|layer| layer.descriptor.size);
    let bytes = sizes.fold(0, u64::saturating_add);
    watch.begin(bytes, missing.len(), layers.len() - missing.len());
    // The largest first: what is left at the end should be small.
    missing.sort_by_key(|layer| std::cmp::Reverse(layer.descriptor.size));

    let next = AtomicUsize::new(0);
    let there = There::new(streams);
    let work = || {
        while let Some(layer) = missing.get(next.fetch_add(1, Ordering::Relaxed)) {
            let fetched = open(source, layer, watch);
            match fetched.and_then(|blob| layer.import(repository, blob)) {
                Ok(stream) => there.add(layer.id.clone(), stream),
                Err(error) => {
                    // Others end what they are at, and begin nothing.
                    next.store(missing.len(), Ordering::Relaxed);
                    there.fail(error);
                }
            }
        }
    };
    let workers = thread::available_parallelism()
        .map_or(1, usize::from)
        .min(missing.len());
    let stacked = thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(work);
        }
        is_image.then(|| stack(repository, layers, &there))
    });
    let streams = there.end()?;
    let stream = |layer: &Layer| match streams.get(&layer.id) {
        Some(stream) => Ok((layer.id.clone(), *stream)),
        None => bail!("layer {}: cannot be fetched", layer.id),
    };
    let layers = layers.iter().map(stream).collect::<Result<_>>()?;
    Ok((layers, stacked.transpose()?))
}

/// Puts layers on top of each other as soon as they are there, as far as they come.
fn stack(repository: &Repository, layers: &[Layer], there: &There) -> Result<Stack> {
    let mut stack = Stack::default();
    for layer in layers {
        let Some(stream) = there.wait(&layer.id) else {
            break;
        };
        stack.add(repository, &layer.id, &stream)?;
    }
    Ok(stack)
}

/// Opens the blob of a layer, and has it watched.
pub(crate) fn open<'a>(
    source: &'a dyn Source,
    layer: &Layer,
    watch: &'a dyn Watch,
) -> Result<impl Read + Send + 'a> {
    let advance = watch.layer(&layer.descriptor.digest, layer.descriptor.size);
    let blob = source.blob(layer.descriptor);
    let blob = blob.with_context(|| format!("layer {}", layer.descriptor.digest))?;
    Ok(Watched { blob, advance })
}

/// A blob whose reader is watched.
struct Watched<'a, R> {
    blob: R,
    advance: Advance<'a>,
}

impl<R: Read> Read for Watched<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.blob.read(buffer)?;
        (self.advance)(count as u64);
        Ok(count)
    }
}
