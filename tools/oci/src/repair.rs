// SPDX-License-Identifier: GPL-2.0-only
//! Mending the images of a repository that has faults.
//!
//! What is damaged or missing is fetched again from where the image came from, and checked as in a
//! pull: the layers that it is in, and no others. A composefs image is made anew of the layers, and
//! has to be the one that it was. All is written in the order of a pull, each object and each name in
//! one step, so that wherever this is stopped there are fewer faults, not others. What has no
//! name is not mended, but left to be collected.

mod image;

use std::collections::{BTreeMap, HashSet};

use anyhow::Result;
use composefs_repository::fsck::{Fault, Place};
use composefs_repository::repair::protect;
use composefs_repository::{Category, Repository};
use composefs_tools::fsverity::Digest;

use crate::digest::BlobDigest;
use crate::image::title;
use crate::origin::{self, Origins};
use crate::pull::Watch;
use crate::referrer;
use crate::tag;

use image::{Mending, NoOrigin};

/// Why what is left could not be mended.
#[derive(Debug, Default)]
pub struct Causes(Vec<Cause>);

/// Why an image could not be mended.
#[derive(Debug)]
struct Cause {
    reached: Reached,
    error: String,
    has_no_origin: bool,
}

/// What an image was found to consist of.
#[derive(Debug, Default)]
struct Reached {
    /// Its names.
    images: Vec<String>,
    objects: HashSet<Digest>,
    streams: HashSet<String>,
}

impl Reached {
    fn has(&self, fault: &Fault) -> bool {
        let is_reached = match &fault.place {
            Place::Name(Category::Streams, name) => self.streams.contains(name),
            Place::Name(Category::Images, name) => self
                .objects
                .iter()
                .any(|object| object.to_string() == *name),
            Place::Reference(Category::Streams, name) => {
                tag::name(name).is_some_and(|name| self.images.contains(&name))
            }
            Place::Other(place) => self.images.iter().any(|name| title(name) == *place),
            _ => false,
        };
        is_reached
            || fault
                .object
                .is_some_and(|object| self.objects.contains(&object))
    }
}

impl Causes {
    /// Why a fault could not be mended; `None` if no image has to do with it.
    pub fn of(&self, fault: &Fault) -> Option<&str> {
        let cause = self.0.iter().find(|cause| cause.reached.has(fault));
        cause.map(|cause| &*cause.error)
    }

    /// Whether nothing is left to be done about a fault but to remove what is wrong.
    pub fn allow_removal(&self, fault: &Fault) -> bool {
        let mut causes = self.0.iter().filter(|cause| cause.reached.has(fault));
        causes.all(|cause| cause.has_no_origin)
    }
}

/// Mends what it can. What that was, another check says.
///
/// # Errors
/// If the repository cannot be written to.
pub fn repair(
    repository: &Repository,
    faults: &[Fault],
    origins: &mut Origins,
    watch: &dyn Watch,
) -> Result<Causes> {
    let mut damaged = HashSet::new();
    for object in faults.iter().filter_map(|fault| fault.object) {
        if !protect(repository, &object)? {
            damaged.insert(object);
        }
    }
    repository.store().replace(damaged.iter().copied());
    let mut images: BTreeMap<BlobDigest, Vec<String>> = BTreeMap::new();
    for link in repository.refs(Category::Streams)? {
        let digest = tag::manifest_digest(link.target_name());
        // What is about an image has no name, but is where that is.
        let subject = referrer::subject_digest(&link.name);
        let name = match subject {
            Some(subject) => origin::noted(repository, &subject),
            None => tag::name(&link.name),
        };
        if let (Some(name), Some(digest)) = (name, digest) {
            images.entry(digest).or_default().push(name);
        }
    }
    let mut causes = Causes::default();
    for (digest, names) in images {
        let mut mending = Mending::new(repository, &digest, names, &mut damaged, origins, watch);
        if let Err(error) = mending.run() {
            causes.0.push(Cause {
                has_no_origin: error.is::<NoOrigin>(),
                error: format!("{error:#}"),
                reached: mending.reached(),
            });
        }
    }
    repository.sync()?;
    Ok(causes)
}
