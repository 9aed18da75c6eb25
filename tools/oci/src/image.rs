// SPDX-License-Identifier: GPL-2.0-only
//! An OCI image in a repository: its manifest, its configuration, its layers, and the composefs
//! image that was made of them.

use std::collections::BTreeMap;
use std::io::Seek;

use anyhow::{anyhow, bail, ensure, Context, Result};
use composefs_repository::stream::{ContentType, Writer};
use composefs_repository::temporary::Temporary;
use composefs_repository::{Category, Repository};
use composefs_tools::fsverity::{Algorithm, Digest};
use composefs_tools::image::{self, Options};
use composefs_tools::quote;
use composefs_tools::store::Unnamed;
use composefs_tools::tree::Tree;

use crate::digest::BlobDigest;
use crate::filesystem::{self, Stack};
use crate::manifest::{self, Config, Manifest, Named};
use crate::tag;
use crate::text::{put_text, read};

pub(crate) const CONFIG: ContentType = ContentType(*b"ociconfg");
pub(crate) const MANIFEST: ContentType = ContentType(*b"ocimanif");

/// What a configuration refers to the composefs image of each format version by, in the order in
/// which composefs-rs does.
const IMAGES: [(u8, &str); 2] = [(2, "composefs.image"), (1, "composefs.image.v1")];
/// Bytes of a composefs image that are kept in memory while it is made.
const MEMORY_MAX: usize = 1 << 20;
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
    /// What that says; nothing that is known of an artifact.
    pub config: Option<Config>,
    /// What the configuration refers to: layers by their digests, and images. Of an artifact, what
    /// the manifest does: several may have the same configuration.
    pub refs: BTreeMap<String, Digest>,
}

impl Image {
    /// The one of this name, or of this digest with `@` in front.
    ///
    /// # Errors
    /// If there is none, or it is damaged.
    pub fn open(repository: &Repository, name: &str) -> Result<Self> {
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
        open().with_context(|| title(name))
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
        let (config_text, config_refs) = read(repository, config, CONFIG, &manifest.config.digest)?;
        let (config, refs) = match manifest.is_image() {
            true => (Some(Config::parse(&config_text)?), config_refs),
            false => (None, refs),
        };
        Ok(Self {
            digest: digest.clone(),
            manifest: *manifest,
            manifest_text,
            config,
            config_text,
            refs,
        })
    }

    /// Its composefs image: the one of the format that is mounted from this repository.
    ///
    /// # Errors
    /// If there is none.
    pub fn composefs(&self, repository: &Repository) -> Result<Digest> {
        self.expect_file_system()?;
        let version = repository.metadata().erofs_formats().default();
        let key = image_key(version)?;
        let digest = self.refs.get(key).copied();
        digest.ok_or_else(|| {
            anyhow!("has no composefs image of format version {version}; pull it again")
        })
    }

    /// All its composefs images, but for those to boot from.
    pub(crate) fn composefs_images(&self) -> impl Iterator<Item = Digest> + '_ {
        let refs = self.refs.iter();
        refs.filter(|(key, _)| version_of(key).is_some())
            .map(|(_, digest)| *digest)
    }

    /// Refuses what is not an image of a file system.
    ///
    /// # Errors
    /// If it is an artifact.
    pub fn expect_file_system(&self) -> Result<()> {
        match self.manifest.artifact_type() {
            None => Ok(()),
            Some(kind) => Err(anyhow!(
                "is an artifact, {}: it has no file system that could be mounted",
                quote::bytes(kind.as_bytes())
            )),
        }
    }

    /// Its layers, the lowest first: what they are called, and their streams.
    ///
    /// # Errors
    /// If one is missing.
    pub fn layers(&self) -> Result<Vec<(BlobDigest, Digest)>> {
        let layer = |id: &BlobDigest| {
            let stream = self.refs.get(id.as_str()).copied();
            let stream = stream.ok_or_else(|| anyhow!("has no layer {id}"))?;
            Ok((id.clone(), stream))
        };
        match &self.config {
            Some(config) => config.diff_ids().iter().map(layer).collect(),
            None => {
                let layers = self.manifest.layers.iter();
                layers.map(|descriptor| layer(&descriptor.digest)).collect()
            }
        }
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
                    .and_then(|digest| Self::open_digest(repository, &digest));
                all.push((name, image));
            }
        }
        Ok(all)
    }
}

/// What the image of a name is called in messages.
pub fn title(name: &str) -> String {
    format!("image {}", quote::bytes(name.as_bytes()))
}

/// Whether an image can have this name.
///
/// # Errors
/// If not.
pub fn expect_name(name: &str) -> Result<()> {
    reference(name).map(drop)
}

fn reference(name: &str) -> Result<String> {
    tag::reference(name).with_context(|| quote::bytes(name.as_bytes()).to_string())
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
    repository.set_ref(Category::Streams, &reference(name)?, &stream)?;
    // One without a manifest loses it. Not every name is one that those can have.
    match repository.get_ref(Category::Images, name) {
        Ok(Some(_)) => repository.remove_ref(Category::Images, name).map(drop),
        _ => Ok(()),
    }
}

/// Takes a name away. Whether there was one.
///
/// # Errors
/// If it cannot be.
pub fn unname(repository: &Repository, name: &str) -> Result<bool> {
    repository.remove_ref(Category::Streams, &reference(name)?)
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
    /// The layers, the lowest first: what they are called, and their streams.
    pub layers: Vec<(BlobDigest, Digest)>,
}

/// Makes the composefs image of one that is an image, and the streams that lead to it. Its layers
/// may be a `stack` already. It has to have the digest `signed`, if that is given.
///
/// # Errors
/// If a layer has what an image cannot have, it is not what is signed, or something cannot be
/// written.
pub fn write(
    repository: &Repository,
    fetched: &Fetched,
    stack: Option<Stack>,
    signed: Option<&Digest>,
) -> Result<()> {
    let mut objects = Unnamed::new(repository.store());
    let config = &fetched.manifest.config.digest;
    if !fetched.manifest.is_image() {
        let existing = existing_config(repository, config)?;
        return write_streams(repository, fetched, &Composed::default(), existing, objects);
    }
    let mut images = compose_all(repository, fetched, stack, &mut objects)?;
    if let Some(signed) = signed {
        let key = image_key(repository.metadata().erofs_formats().default())?;
        let made = images.refs.iter().find(|(found, _)| found == key);
        ensure!(
            made.is_some_and(|(_, made)| made == signed),
            "its layers are not what is signed: they give another composefs image than {signed}"
        );
    }
    images.refs.extend(boot_images(repository, config)?);
    write_streams(repository, fetched, &images, None, objects)
}

/// Makes the stream of a manifest whose configuration is there.
///
/// # Errors
/// If that is not there, or it cannot be written.
pub(crate) fn write_manifest(repository: &Repository, fetched: &Fetched) -> Result<()> {
    let config = &fetched.manifest.config.digest;
    let existing = existing_config(repository, config)?;
    ensure!(existing.is_some(), "configuration {config} is not there");
    let objects = Unnamed::new(repository.store());
    write_streams(repository, fetched, &Composed::default(), existing, objects)
}

/// Composefs images.
#[derive(Debug, Default)]
pub(crate) struct Composed {
    /// By what a configuration refers to each.
    pub refs: Vec<(String, Digest)>,
    /// Those of them that are to have names.
    pub named: Vec<Digest>,
}

/// Makes the composefs images that this repository asks for.
///
/// # Errors
/// As of [`write`].
pub(crate) fn compose_all(
    repository: &Repository,
    fetched: &Fetched,
    mut stack: Option<Stack>,
    objects: &mut Unnamed,
) -> Result<Composed> {
    let formats = repository.metadata().erofs_formats();
    formats
        .all()
        .try_for_each(|version| image_key(version).map(drop))?;
    let mut images = Composed::default();
    for (version, key) in IMAGES {
        if formats.all().any(|wanted| wanted == version) {
            let tree = match stack.take() {
                Some(stack) => stack.into_tree()?,
                None => filesystem::build(repository, &fetched.layers)?,
            };
            let image = compose(tree, version, objects, |_| Ok(()))?;
            images.refs.push((key.to_owned(), image));
            images.named.push(image);
        }
    }
    Ok(images)
}

/// Makes the streams of a configuration, unless there is `existing`, and of a manifest, and gives
/// names to them and to the composefs images, which may be among `objects`.
///
/// # Errors
/// If something cannot be written.
pub(crate) fn write_streams(
    repository: &Repository,
    fetched: &Fetched,
    images: &Composed,
    existing: Option<Digest>,
    mut objects: Unnamed,
) -> Result<()> {
    let config = &fetched.manifest.config.digest;
    let config_stream = match existing {
        Some(existing) => existing,
        None => {
            let mut writer = Writer::new(repository.algorithm(), CONFIG)?;
            put_text(&mut writer, &fetched.config_text, &mut objects)?;
            refer_to_layers(&mut writer, fetched);
            for (key, image) in &images.refs {
                writer.refer(key, image);
            }
            writer.finish(&mut objects)?
        }
    };
    let mut writer = Writer::new(repository.algorithm(), MANIFEST)?;
    put_text(&mut writer, &fetched.manifest_text, &mut objects)?;
    writer.refer(&tag::config_key(config), &config_stream);
    refer_to_layers(&mut writer, fetched);
    let manifest_stream = writer.finish(&mut objects)?;

    objects.publish()?;
    repository.expect_protected()?;
    name_images(repository, images)?;
    repository.set_name(Category::Streams, &tag::config(config), &config_stream)?;
    let manifest = tag::manifest(&fetched.digest);
    repository.set_name(Category::Streams, &manifest, &manifest_stream)
}

/// Gives composefs images their names.
///
/// # Errors
/// If one cannot be written.
pub(crate) fn name_images(repository: &Repository, images: &Composed) -> Result<()> {
    images
        .named
        .iter()
        .try_for_each(|image| repository.set_name(Category::Images, &image.to_string(), image))
}

fn refer_to_layers(writer: &mut Writer, fetched: &Fetched) {
    for (id, stream) in &fetched.layers {
        writer.refer(id.as_str(), stream);
    }
}

/// Makes the composefs image of a tree an object, if what it is found to be is accepted.
///
/// # Errors
/// If the tree has what an image cannot have, or it cannot be written; that of `accept`.
pub(crate) fn compose(
    tree: Tree,
    version: u8,
    objects: &mut Unnamed,
    accept: impl Fn(&Digest) -> Result<()>,
) -> Result<Digest> {
    let mut image = Temporary::new(MEMORY_MAX);
    image::write(tree, &options(version, None)?, Some(&mut image))?;
    let size = image.stream_position()?;
    image.rewind()?;
    objects.put_stream_if(&mut image, size, accept)
}

/// The digest of the composefs image of layers.
///
/// # Errors
/// If a layer has what an image cannot have.
pub fn digest(
    repository: &Repository,
    layers: &[(BlobDigest, Digest)],
    version: u8,
) -> Result<Digest> {
    let tree = filesystem::build(repository, layers)?;
    let options = options(version, Some(repository.algorithm()))?;
    let digest = image::write(tree, &options, None)?;
    digest.context("has no digest")
}

/// What an image of this version is made by; and whether only its digest is wanted.
fn options(version: u8, digest: Option<Algorithm>) -> Result<Options> {
    image_key(version)?;
    Ok(Options {
        min_version: version.into(),
        max_version: version.into(),
        digest,
    })
}

fn image_key(version: u8) -> Result<&'static str> {
    let found = IMAGES.into_iter().find(|&(of, _)| of == version);
    found
        .map(|(_, key)| key)
        .ok_or_else(|| anyhow!("images of format version {version} are not made for OCI images"))
}

/// Whether a configuration refers to a composefs image so.
pub(crate) fn is_image_key(key: &str) -> bool {
    version_of(key).is_some() || key.starts_with(BOOT_IMAGES)
}

/// The format version of the composefs image that a configuration refers to so; `None` if it is
/// something else.
pub(crate) fn version_of(key: &str) -> Option<u8> {
    let mut images = IMAGES.iter();
    images
        .find(|(_, image)| *image == key)
        .map(|&(version, _)| version)
}

/// The stream of a configuration that is there. Others may refer to it.
fn existing_config(repository: &Repository, config: &BlobDigest) -> Result<Option<Digest>> {
    let stream = repository.lookup(Category::Streams, &tag::config(config))?;
    if let Some(stream) = &stream {
        read(repository, stream, CONFIG, config)?;
    }
    Ok(stream)
}

/// What other tools made of the same configuration, which it goes on to refer to.
fn boot_images(repository: &Repository, config: &BlobDigest) -> Result<Vec<(String, Digest)>> {
    let Some(stream) = repository.lookup(Category::Streams, &tag::config(config))? else {
        return Ok(Vec::new());
    };
    let (_, refs) = read(repository, &stream, CONFIG, config)?;
    let boot = |(key, _): &(String, _)| key.starts_with(BOOT_IMAGES);
    Ok(refs.into_iter().filter(boot).collect())
}
