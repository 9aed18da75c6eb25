// SPDX-License-Identifier: GPL-2.0-only
//! Where an image came from, and whether it is still there.
//!
//! A pull notes it beside the repository's streams. What composefs-rs pulled has no note, but often
//! the name of where it came from.

use std::collections::HashMap;
use std::rc::Rc;

use anyhow::{anyhow, bail, Context, Error, Result};
use composefs_repository::Repository;
use composefs_tools::quote;

use crate::digest::BlobDigest;
use crate::manifest::{Descriptor, Platform, OCI_MANIFEST};
use crate::reference::Reference;
use crate::source::registry::{is_unreachable, Settings};
use crate::source::{self, Source};
use crate::tag;

/// Notes where the image of a digest came from.
///
/// # Errors
/// If that cannot be written.
pub fn note(repository: &Repository, digest: &BlobDigest, reference: &Reference) -> Result<()> {
    match reference.absolute() {
        Some(origin) => note_text(repository, digest, &origin),
        None => Ok(()),
    }
}

/// The same, of a text that was noted of another image.
///
/// # Errors
/// If that cannot be written.
pub(crate) fn note_text(repository: &Repository, digest: &BlobDigest, origin: &str) -> Result<()> {
    repository.set_origin(&tag::manifest(digest), origin)
}

/// Where the image of a digest came from, if that was noted.
pub fn noted(repository: &Repository, digest: &BlobDigest) -> Option<String> {
    repository.origin(&tag::manifest(digest))
}

/// Sources that images may be in, each opened once.
pub struct Origins {
    /// One that may have any of them.
    given: Option<String>,
    settings: Settings,
    opened: HashMap<String, Result<Rc<dyn Source>, String>>,
}

/// A source that has an image, and the text of the manifest there.
pub struct Found {
    /// The source.
    pub source: Rc<dyn Source>,
    /// The manifest.
    pub manifest_text: Vec<u8>,
}

impl Origins {
    /// Those that are noted, and before them the one that is `given`.
    pub fn new(given: Option<String>, settings: Settings) -> Self {
        Self {
            given,
            settings,
            opened: HashMap::new(),
        }
    }

    /// Finds a source that has the image of a digest and of these names; `None` if there is none to
    /// look at.
    ///
    /// # Errors
    /// If none of them has it.
    pub fn find(
        &mut self,
        repository: &Repository,
        digest: &BlobDigest,
        names: &[String],
    ) -> Result<Option<Found>> {
        let noted = noted(repository, digest);
        let is_source = |name: &&String| name.parse::<Reference>().is_ok();
        let mut all = Vec::new();
        for name in self
            .given
            .iter()
            .chain(&noted)
            .chain(names.iter().filter(is_source))
        {
            if !all.contains(name) {
                all.push(name.clone());
            }
        }
        let mut errors = Vec::new();
        for name in all {
            match self.look(&name, digest) {
                Ok(found) => return Ok(Some(found)),
                Err(error) => errors.push(format!("{}: {error:#}", quote::bytes(name.as_bytes()))),
            }
        }
        match errors.is_empty() {
            true => Ok(None),
            false => Err(anyhow!(errors.join("; "))),
        }
    }

    fn look(&mut self, name: &str, digest: &BlobDigest) -> Result<Found> {
        let settings = &self.settings;
        let opened = self.opened.entry(name.to_owned()).or_insert_with(|| {
            let open = || source::open(&name.parse()?, settings);
            open()
                .map(Rc::from)
                .map_err(|error: Error| format!("{error:#}"))
        });
        let source = match opened {
            Ok(source) => Rc::clone(source),
            Err(error) => bail!("{error}"),
        };
        match manifest_text(&*source, digest) {
            Ok(manifest_text) => Ok(Found {
                source,
                manifest_text,
            }),
            Err(error) => {
                if is_unreachable(&error) {
                    // One wait is enough.
                    let failed = Err(format!("{error:#}"));
                    self.opened.insert(name.to_owned(), failed);
                }
                Err(error)
            }
        }
    }
}

/// The manifest of a digest, whatever the name of the source stands for by now.
fn manifest_text(source: &dyn Source, digest: &BlobDigest) -> Result<Vec<u8>> {
    let descriptor = Descriptor {
        media_type: OCI_MANIFEST.into(),
        digest: digest.clone(),
        // Not known, nor asked for.
        size: 0,
        artifact_type: None,
        platform: None,
        annotations: Default::default(),
    };
    let error = match source.manifest(&descriptor).and_then(source::read_some) {
        Ok(text) => {
            let found = BlobDigest::of(&text);
            if found != *digest {
                bail!("manifest {digest}: is not what it should be: its digest is {found}");
            }
            return Ok(text);
        }
        Err(error) => error.context(format!("manifest {digest}")),
    };
    if is_unreachable(&error) {
        return Err(error);
    }
    // What is there now says more than that something is not.
    match source::find(source, &Platform::host()) {
        Ok(found) if found.digest == *digest => Ok(found.text),
        Ok(found) => Err(error).context(format!("has another image now, {}", found.digest)),
        Err(_) => Err(error),
    }
}
