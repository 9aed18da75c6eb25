// SPDX-License-Identifier: GPL-2.0-only
//! An OCI image in a repository: its manifest, its configuration, its layers, and the composefs
//! image that was made of them.

use std::collections::BTreeMap;
use std::io::Read;

use anyhow::{anyhow, bail, ensure, Context, Result};
use composefs_repository::stream::{Chunk, ContentType, Reader, Writer};
use composefs_repository::{Category, Repository};
use composefs_tools::fsverity::Digest;
use composefs_tools::image::{self, Options};
use composefs_tools::quote;
use composefs_tools::store::Unnamed;

use crate::digest::BlobDigest;
use crate::manifest::{self, Config, Manifest, Named, SIZE_MAX};
use crate::{filesystem, tag};

const CONFIG: ContentType = ContentType(*b"ociconfg");
const MANIFEST: ContentType = ContentType(*b"ocimanif");

/// What a configuration refers to the composefs image of each format version by.
const IMAGES: [(u8, &str); 2] = [(1, "composefs.image.v1"), (2, "composefs.image")];
/// What it refers to others by: those to boot, which have been made by other tools.
const BOOT_IMAGES: &str = "composefs.image.boot";

/// An image.
#[derive(Debug)]
pub struct Image {
    /// The digest of its manifest, which is the image's.
    pub digest: BlobDigest,
    /// Its manifest as it was fetched.
    pub manifest_text: Vec<u8>,
    /// What that says.
    pub manifest: Manifest,
    /// Its configuration as it was fetched.
    pub config_text: Vec<u8>,
    /// What that says.
    pub config: Config,
    /// What the configuration refers to: layers by their digests, and images.
    pub refs: BTreeMap<String, Digest>,
}

impl Image {
    /// The one of this name, or of this digest with `@` in front.
    ///
    /// # Errors
    /// If there is none, or it is damaged.
    pub fn open(repository: &Repository, name: &str) -> Result<Self> {
        let context = || format!("image {}", quote::bytes(name.as_bytes()));
        let open = || {
            let digest = match name.strip_prefix('@') {
                Some(digest) => digest.parse()?,
                None => {
                    let reference = tag::reference(name)?;
                    let stream = repository.get_ref(Category::Streams, &reference)?;
                    let stream = stream.ok_or_else(|| anyhow!("there is none of this name"))?;
                    tag::manifest_digest(&stream).ok_or_else(|| anyhow!("is not an image"))?
                }
            };
            Self::open_digest(repository, &digest)
        };
        open().with_context(context)
    }

    fn open_digest(repository: &Repository, digest: &BlobDigest) -> Result<Self> {
        let stream = repository.lookup(Category::Streams, &tag::manifest(digest))?;
        let stream = stream.ok_or_else(|| anyhow!("there is none of this digest"))?;
        let (manifest_text, refs) = read(repository, &stream, MANIFEST, digest)?;
        let Named::Manifest(manifest) = manifest::parse(&manifest_text)? else {
            bail!("its manifest is an index");
        };
        let config = refs.get(&tag::config_key(&manifest.config.digest));
        let config = config.ok_or_else(|| anyhow!("its manifest refers to no configuration"))?;
        let (config_text, refs) = read(repository, config, CONFIG, &manifest.config.digest)?;
        Ok(Self {
            digest: digest.clone(),
            manifest,
            manifest_text,
            config: Config::parse(&config_text)?,
            config_text,
            refs,
        })
    }

    /// Its composefs image: the one of the format that is mounted from this repository.
    ///
    /// # Errors
    /// If there is none.
    pub fn composefs(&self, repository: &Repository) -> Result<Digest> {
        let version = repository.metadata().erofs_formats().default();
        let key = image_key(version)?;
        let digest = self.refs.get(key).copied();
        digest.ok_or_else(|| {
            anyhow!("has no composefs image of format version {version}; pull it again")
        })
    }

    /// Its layers, the lowest first: their digests when decompressed, and their streams.
    ///
    /// # Errors
    /// If one is missing.
    pub fn layers(&self) -> Result<Vec<(BlobDigest, Digest)>> {
        let layer = |diff_id: &BlobDigest| {
            let stream = self.refs.get(diff_id.as_str()).copied();
            Ok((
                diff_id.clone(),
                stream.ok_or_else(|| anyhow!("has no layer {diff_id}"))?,
            ))
        };
        self.config.diff_ids().iter().map(layer).collect()
    }

    /// All images: their names, and what they are, or why they cannot be opened.
    ///
    /// # Errors
    /// If the names cannot be read.
    pub fn all(repository: &Repository) -> Result<Vec<(String, Result<Self>)>> {
        let mut all = Vec::new();
        for link in repository.refs(Category::Streams)? {
            // Its name may be taken away meanwhile; the image stays.
            if let Some(name) = tag::name(&link.name) {
                let digest = tag::manifest_digest(link.target_name());
                let image = digest
                    .ok_or_else(|| anyhow!("is not an image"))
                    .and_then(|digest| Self::open_digest(repository, &digest))
                    .with_context(|| format!("image {}", quote::bytes(name.as_bytes())));
                all.push((name, image));
            }
        }
        Ok(all)
    }
}

/// Gives the image of a digest a name, in place of what has it.
///
/// # Errors
/// If there is no such image.
pub fn name(repository: &Repository, digest: &BlobDigest, name: &str) -> Result<()> {
    let stream = tag::manifest(digest);
    if repository.lookup(Category::Streams, &stream)?.is_none() {
        bail!("image {digest}: there is none of this digest");
    }
    let reference =
        tag::reference(name).with_context(|| quote::bytes(name.as_bytes()).to_string())?;
    repository.set_ref(Category::Streams, &reference, &stream)
}

/// Takes a name away. Whether there was one.
///
/// # Errors
/// If it cannot be.
pub fn unname(repository: &Repository, name: &str) -> Result<bool> {
    repository.remove_ref(Category::Streams, &tag::reference(name)?)
}

/// What a manifest and what it refers to are, as they were fetched.
#[derive(Debug)]
pub struct Fetched {
    /// The digest of the manifest.
    pub digest: BlobDigest,
    /// The manifest.
    pub manifest_text: Vec<u8>,
    /// What it says.
    pub manifest: Manifest,
    /// The configuration.
    pub config_text: Vec<u8>,
    /// The layers, the lowest first: their digests when decompressed, and their streams.
    pub layers: Vec<(BlobDigest, Digest)>,
}

/// Makes the composefs image of one, and the streams that lead to it.
///
/// # Errors
/// If a layer has what an image cannot have, or something cannot be written.
pub fn write(repository: &Repository, fetched: &Fetched) -> Result<()> {
    let mut objects = Unnamed::new(repository.store());
    let mut images = Vec::new();
    for version in repository.metadata().erofs_formats().all() {
        let image = compose(repository, &fetched.layers, version)?;
        images.push((image_key(version)?, objects.put(&image)?));
    }
    let config = &fetched.manifest.config.digest;
    let algorithm = repository.algorithm();
    let mut writer = Writer::new(algorithm, CONFIG)?;
    put_text(&mut writer, &fetched.config_text, &mut objects)?;
    for (diff_id, stream) in &fetched.layers {
        writer.refer(diff_id.as_str(), stream);
    }
    images
        .iter()
        .for_each(|(key, image)| writer.refer(key, image));
    for (key, image) in boot_images(repository, config)? {
        writer.refer(&key, &image);
    }
    let config_stream = writer.finish(&mut objects)?;

    let mut writer = Writer::new(algorithm, MANIFEST)?;
    put_text(&mut writer, &fetched.manifest_text, &mut objects)?;
    writer.refer(&tag::config_key(config), &config_stream);
    for (diff_id, stream) in &fetched.layers {
        writer.refer(diff_id.as_str(), stream);
    }
    let manifest_stream = writer.finish(&mut objects)?;

    objects.publish()?;
    repository.expect_protected()?;
    for (_, image) in &images {
        repository.set_name(Category::Images, &image.to_string(), image)?;
    }
    repository.set_name(Category::Streams, &tag::config(config), &config_stream)?;
    repository.set_name(
        Category::Streams,
        &tag::manifest(&fetched.digest),
        &manifest_stream,
    )?;
    Ok(())
}

/// The composefs image of layers.
///
/// # Errors
/// If a layer has what an image cannot have.
pub fn compose(
    repository: &Repository,
    layers: &[(BlobDigest, Digest)],
    version: u8,
) -> Result<Vec<u8>> {
    image_key(version)?;
    let options = Options {
        min_version: version.into(),
        max_version: version.into(),
        digest: None,
    };
    let mut bytes = Vec::new();
    image::write(
        filesystem::build(repository, layers)?,
        &options,
        Some(&mut bytes),
    )?;
    Ok(bytes)
}

fn image_key(version: u8) -> Result<&'static str> {
    let mut images = IMAGES.iter();
    match images.find(|&&(of, _)| of == version) {
        // See composefs_tools::image::VERSION_MAX.
        Some(&(1, key)) => Ok(key),
        _ => Err(anyhow!(
            "images of format version {version} are not made for OCI images"
        )),
    }
}

/// What other tools made of the same configuration, which it goes on to refer to.
fn boot_images(repository: &Repository, config: &BlobDigest) -> Result<Vec<(String, Digest)>> {
    let Some(stream) = repository.lookup(Category::Streams, &tag::config(config))? else {
        return Ok(Vec::new());
    };
    let (_, refs) = read(repository, &stream, CONFIG, config)?;
    Ok(refs
        .into_iter()
        .filter(|(key, _)| key.starts_with(BOOT_IMAGES))
        .collect())
}

fn put_text(writer: &mut Writer, text: &[u8], objects: &mut Unnamed) -> Result<()> {
    let object = objects.put(text)?;
    writer.external(&object, text.len() as u64)
}

/// The text that a stream is, and what it refers to.
fn read(
    repository: &Repository,
    stream: &Digest,
    content_type: ContentType,
    digest: &BlobDigest,
) -> Result<(Vec<u8>, BTreeMap<String, Digest>)> {
    let open = || {
        let mut reader = Reader::open(repository.object(stream)?, repository.algorithm())?;
        ensure!(
            reader.content_type() == content_type,
            "is the stream of something else"
        );
        let Some(Chunk::External(object)) = reader.next_chunk()? else {
            bail!("is damaged");
        };
        let mut text = Vec::new();
        repository
            .object(&object)?
            .take(SIZE_MAX + 1)
            .read_to_end(&mut text)?;
        ensure!(
            text.len() as u64 <= SIZE_MAX,
            "is of more than {SIZE_MAX} bytes"
        );
        let found = BlobDigest::of(&text);
        ensure!(found == *digest, "is damaged: its digest is {found}");
        Ok((text, reader.names().clone()))
    };
    open().with_context(|| digest.to_string())
}
