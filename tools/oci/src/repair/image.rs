// SPDX-License-Identifier: GPL-2.0-only
//! Mending one image.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::rc::Rc;

use anyhow::{anyhow, bail, ensure, Context, Error, Result};
use composefs_repository::stream::{ContentType, Reader};
use composefs_repository::{Category, Repository};
use composefs_tools::fsverity::Digest;
use composefs_tools::store::Unnamed;

use super::Reached;
use crate::digest::BlobDigest;
use crate::image::{self, Composed, Fetched, CONFIG, MANIFEST};
use crate::layers::Layer;
use crate::manifest::{self, Named};
use crate::origin::{Found, Origins};
use crate::pull::{self, Watch};
use crate::source::{self, Source};
use crate::text::{open_stream, read_text};
use crate::{filesystem, tag};

/// It is not known where an image came from.
#[derive(Debug)]
pub(super) struct NoOrigin;

impl fmt::Display for NoOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("it is not known where the image came from: say so with --from")
    }
}

impl std::error::Error for NoOrigin {}

type Refs = BTreeMap<String, Digest>;

/// What is known of a stream that is a text.
struct Text {
    /// The stream, if it can be read.
    stream: Option<Digest>,
    refs: Refs,
    /// The text, if that is what it should be.
    text: Option<Vec<u8>>,
}

/// An image that is being mended.
pub(super) struct Mending<'a> {
    repository: &'a Repository,
    digest: &'a BlobDigest,
    /// Objects that are damaged or missing.
    damaged: &'a mut HashSet<Digest>,
    origins: &'a mut Origins,
    watch: &'a dyn Watch,
    found: Option<Found>,
    reached: Reached,
}

impl<'a> Mending<'a> {
    pub(super) fn new(
        repository: &'a Repository,
        digest: &'a BlobDigest,
        names: Vec<String>,
        damaged: &'a mut HashSet<Digest>,
        origins: &'a mut Origins,
        watch: &'a dyn Watch,
    ) -> Self {
        Self {
            repository,
            digest,
            damaged,
            origins,
            watch,
            found: None,
            reached: Reached {
                images: names,
                ..Reached::default()
            },
        }
    }

    /// What the image consists of, as far as that was found out.
    pub(super) fn reached(self) -> Reached {
        self.reached
    }

    /// Mends what can be mended.
    pub(super) fn run(&mut self) -> Result<()> {
        let named = self.lookup(&tag::manifest(self.digest));
        let manifest = self.text(named.into_iter(), MANIFEST, self.digest);
        let mut is_stale = named.is_none() || manifest.stream.is_none() || manifest.text.is_none();
        let manifest_text = match manifest.text {
            Some(text) => text,
            None => self.found()?.manifest_text.clone(),
        };
        let Named::Manifest(parsed) = manifest::parse(&manifest_text)? else {
            bail!("its manifest is an index");
        };

        let config_digest = &parsed.config.digest;
        let named = self.lookup(&tag::config(config_digest));
        let referred = manifest.refs.get(&tag::config_key(config_digest)).copied();
        let streams = referred.into_iter().chain(named);
        let config = self.text(streams, CONFIG, config_digest);
        let has_config = config.stream.is_some() && config.text.is_some();
        is_stale |= !has_config || named.is_none() || config.stream != referred;
        let config_text = match config.text {
            Some(text) => text,
            None => source::blob_text(&*self.source()?, &parsed.config)?,
        };

        let layers = Layer::all(&parsed, &config_text)?;
        let refs = match parsed.is_image() {
            true => &config.refs,
            false => &manifest.refs,
        };
        let mut are_stale = false;
        let mut streams = Vec::new();
        let mut failure = None;
        for layer in &layers {
            let known = refs.get(layer.id.as_str()).copied();
            match self.layer(layer, known) {
                Ok(stream) => {
                    are_stale |= known != Some(stream);
                    streams.push((layer.id.clone(), stream));
                }
                // Others may be had.
                Err(error) => drop(failure.get_or_insert(error)),
            }
        }
        if let Some(error) = failure {
            return Err(error);
        }
        let fetched = Fetched {
            digest: self.digest.clone(),
            manifest_text,
            manifest: (*parsed).clone(),
            config_text,
            layers: streams,
        };
        let mut objects = Unnamed::new(self.repository.store());
        let (images, failure) = match (parsed.is_image(), config.stream) {
            (true, Some(_)) => self.known_images(&fetched, &config.refs, &mut objects),
            (true, None) => (self.new_images(&fetched, &mut objects)?, None),
            (false, _) => (Composed::default(), None),
        };
        if is_stale || are_stale {
            let is_damaged = |object: &Digest| self.damaged.contains(object);
            // What several artifacts have is left as it is, if that is good.
            let is_config_stale = are_stale && parsed.is_image();
            let is_config_good =
                has_config && !is_config_stale && !config.refs.values().any(is_damaged);
            let existing = config.stream.filter(|_| is_config_good);
            image::write_streams(self.repository, &fetched, &images, existing, objects)?;
        } else {
            objects.publish()?;
            self.repository.expect_protected()?;
            image::name_images(self.repository, &images)?;
        }
        failure.map_or(Ok(()), Err)
    }

    /// The object that a stream's name leads to, if it does.
    fn lookup(&mut self, name: &str) -> Option<Digest> {
        self.reached.streams.insert(name.to_owned());
        self.repository
            .lookup(Category::Streams, name)
            .ok()
            .flatten()
    }

    /// Reads the first of `streams` that can be read.
    fn text(
        &mut self,
        streams: impl Iterator<Item = Digest>,
        content_type: ContentType,
        digest: &BlobDigest,
    ) -> Text {
        for stream in streams {
            self.reached.objects.insert(stream);
            let Ok(mut reader) = open_stream(self.repository, &stream, content_type) else {
                continue;
            };
            self.reach(&reader);
            let text = read_text(self.repository, &mut reader, digest);
            return Text {
                stream: Some(stream),
                refs: reader.names().clone(),
                text: text.ok(),
            };
        }
        Text {
            stream: None,
            refs: Refs::new(),
            text: None,
        }
    }

    fn reach(&mut self, reader: &Reader) {
        let all = reader.objects().iter().chain(reader.names().values());
        self.reached.objects.extend(all);
    }

    /// The stream of a layer that has all it needs, fetched if need be.
    fn layer(&mut self, layer: &Layer, known: Option<Digest>) -> Result<Digest> {
        let name = tag::layer(&layer.id);
        let named = self.lookup(&name);
        let mut stream = self.whole(known).or_else(|| self.whole(named));
        if stream.is_none() {
            let fetched = self.fetch(layer)?;
            // Another tool may have written it in another way.
            stream = self.whole(known).or_else(|| self.whole(Some(fetched)));
        }
        let stream = stream.ok_or_else(|| anyhow!("layer {}: cannot be mended", layer.id))?;
        if self.whole(named).is_none() {
            self.repository
                .set_name(Category::Streams, &name, &stream)?;
        }
        Ok(stream)
    }

    /// The stream, if it and all that it needs is there.
    fn whole(&mut self, stream: Option<Digest>) -> Option<Digest> {
        let stream = stream?;
        self.reached.objects.insert(stream);
        let file = self.repository.object(&stream).ok()?;
        let reader = Reader::open(file, self.repository.algorithm()).ok()?;
        self.reach(&reader);
        let is_whole =
            |object: &Digest| !self.damaged.contains(object) && self.repository.has_object(object);
        reader.objects().iter().all(is_whole).then_some(stream)
    }

    fn fetch(&mut self, layer: &Layer) -> Result<Digest> {
        let source = self.source()?;
        let blob = pull::open(&*source, layer, self.watch)?;
        let stream = layer.store(self.repository, blob)?;
        // What came with it is whole.
        let repository = self.repository;
        let reader = Reader::open(repository.object(&stream)?, repository.algorithm())?;
        self.damaged.remove(&stream);
        for object in reader.objects() {
            if self.damaged.contains(object) && repository.object(object).is_ok() {
                self.damaged.remove(object);
            }
        }
        Ok(stream)
    }

    /// Makes those of the composefs images anew that a configuration refers to and that are damaged.
    /// What goes wrong is said, but does not keep from mending the rest.
    fn known_images(
        &mut self,
        fetched: &Fetched,
        refs: &Refs,
        objects: &mut Unnamed,
    ) -> (Composed, Option<Error>) {
        let mut images = Composed::default();
        let mut failure = None;
        let mut known: Vec<_> = refs
            .iter()
            .filter(|(key, _)| image::is_image_key(key))
            .collect();
        // Those to boot from come last, as they were written. They may be the same.
        known.sort_by_key(|(key, _)| image::version_of(key).is_none());
        for (key, digest) in known {
            images.refs.push((key.clone(), *digest));
            let is_made = images.named.contains(digest);
            let made = match is_made || self.repository.object(digest).is_ok() {
                true => Ok(()),
                false => self.make_image(fetched, key, digest, objects),
            };
            match made {
                Ok(()) => images.named.push(*digest),
                Err(error) => drop(failure.get_or_insert(error)),
            }
        }
        (images, failure)
    }

    fn make_image(
        &self,
        fetched: &Fetched,
        key: &str,
        digest: &Digest,
        objects: &mut Unnamed,
    ) -> Result<()> {
        let mut make = || {
            let Some(version) = image::version_of(key) else {
                bail!("was made by composefs-rs, to start from: that is not done here");
            };
            self.watch.compose();
            let (repository, layers) = (self.repository, &fetched.layers);
            let tree = filesystem::build(repository, layers)?;
            image::compose(tree, version, objects, |found| {
                ensure!(found == digest, "is {found} when it is made anew");
                Ok(())
            })
            .map(drop)
        };
        make().with_context(|| format!("{key} {digest}"))
    }

    /// Makes all composefs images anew: nothing says which ones there were.
    fn new_images(&mut self, fetched: &Fetched, objects: &mut Unnamed) -> Result<Composed> {
        self.watch.compose();
        image::compose_all(self.repository, fetched, None, objects)
    }

    /// Where the image is.
    fn source(&mut self) -> Result<Rc<dyn Source>> {
        Ok(Rc::clone(&self.found()?.source))
    }

    fn found(&mut self) -> Result<&Found> {
        let found = match self.found.take() {
            Some(found) => found,
            None => {
                let names = &self.reached.images;
                let found = self.origins.find(self.repository, self.digest, names)?;
                found.ok_or_else(|| Error::new(NoOrigin))?
            }
        };
        Ok(self.found.insert(found))
    }
}
