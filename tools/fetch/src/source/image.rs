// SPDX-License-Identifier: GPL-2.0-only
//! An OCI image whose layers have objects, in a registry or elsewhere.
//!
//! A layer comes as a whole, and is checked before anything of it gets a name. What is in it is known
//! once it was pulled; until then every layer may have what is wanted.

use std::io::Read;
use std::ops::Range;
use std::sync::Mutex;

use anyhow::{Context, Result};
use composefs_http::Access;
use composefs_oci::layers::Layer;
use composefs_oci::manifest::Platform;
use composefs_oci::reference::Reference;
use composefs_oci::source::registry::{Settings, Trust};
use composefs_oci::source::{self, Found};
use composefs_repository::Repository;
use composefs_tools::fsverity::Digest;
use composefs_tools::lock::lock;

use super::{Refusal, Source};
use crate::rate::{Limited, Rate};

/// An image.
pub struct Image {
    name: String,
    reference: Reference,
    settings: Settings,
    opened: Mutex<Option<Opened>>,
}

/// One that was found.
struct Opened {
    source: Box<dyn source::Source>,
    image: Found,
    config_text: Vec<u8>,
}

impl Image {
    /// That of this name.
    pub(super) fn new(name: &str, reference: Reference, access: &Access) -> Self {
        let trust = match access.is_verified {
            true => Trust::Configured,
            false => Trust::Nobody,
        };
        Self {
            name: name.to_owned(),
            reference,
            settings: Settings {
                trust,
                stall: access.stall,
                ..Settings::default()
            },
            opened: Mutex::new(None),
        }
    }

    /// Brings layers into a repository as long as something `is_missing`, which is asked first, and after
    /// each: those that have, or may have, what is `wanted`. One caller at a time.
    ///
    /// # Errors
    /// If one does not come, or is not what it should be.
    pub(crate) fn bring(
        &self,
        repository: &Repository,
        rate: Option<&Rate>,
        wanted: &dyn Fn(&Digest) -> bool,
        is_missing: &mut dyn FnMut() -> bool,
    ) -> Result<()> {
        let mut opened = lock(&self.opened);
        // Somebody else may have brought it meanwhile.
        if !is_missing() {
            return Ok(());
        }
        let opened = match opened.take() {
            Some(known) => opened.insert(known),
            None => opened.insert(self.open()?),
        };
        let layers = Layer::all(&opened.image.manifest, &opened.config_text)?;
        let (mut useful, mut unknown) = (Vec::new(), Vec::new());
        for layer in &layers {
            match layer.objects(repository) {
                Some(objects) if objects.iter().any(wanted) => useful.push(layer),
                Some(_) => {}
                None => unknown.push(layer),
            }
        }
        for layer in useful.into_iter().chain(unknown) {
            let blob = opened.source.blob(layer.descriptor);
            let blob = blob.with_context(|| format!("layer {}", layer.descriptor.digest))?;
            layer.import(repository, Limited::new(blob, rate))?;
            if !is_missing() {
                break;
            }
        }
        Ok(())
    }

    fn open(&self) -> Result<Opened> {
        let source = source::open(&self.reference, &self.settings)?;
        let image = source::find(&*source, &Platform::host())?;
        let config_text = source::blob_text(&*source, &image.manifest.config)?;
        Ok(Opened {
            source,
            image,
            config_text,
        })
    }
}

impl Source for Image {
    fn name(&self) -> &str {
        &self.name
    }

    fn parallel(&self) -> usize {
        1
    }

    fn open(&self, _: &str, _: Option<Range<u64>>) -> Result<Box<dyn Read + '_>, Refusal> {
        Err(Refusal::Absent)
    }

    fn image(&self) -> Option<&Image> {
        Some(self)
    }
}
