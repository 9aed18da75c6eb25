// SPDX-License-Identifier: GPL-2.0-only
//! Checking a repository, and the images in it.

use anyhow::Result;
use composefs_repository::fsck::{self, Depth, Fault, Place, Report};
use composefs_repository::{Category, Repository};

use crate::image::{title, Image};
use crate::tag;

/// Checks all that there is.
///
/// # Errors
/// If the repository cannot be read at all.
pub fn check(repository: &Repository, depth: Depth) -> Result<Report> {
    with_images(repository, fsck::check(repository, depth)?)
}

/// Checks what is left of `faults`, and the structure.
///
/// # Errors
/// As of [`check`].
pub fn check_again(repository: &Repository, faults: &[Fault]) -> Result<Report> {
    with_images(repository, fsck::check_again(repository, faults)?)
}

fn with_images(repository: &Repository, mut report: Report) -> Result<Report> {
    for (name, image) in Image::all(repository)? {
        let missing = image.and_then(|image| missing_names(repository, &image));
        match missing {
            Ok(missing) => {
                for place in missing {
                    // What leads to nothing was found before.
                    if !report.faults.iter().any(|fault| fault.place == place) {
                        report.faults.push(Fault {
                            place,
                            reason: format!("is not there, but {} needs it", title(&name)),
                            object: None,
                        });
                    }
                }
            }
            Err(error) => report.faults.push(Fault {
                place: Place::Other(title(&name)),
                reason: format!("{error:#}"),
                object: None,
            }),
        }
    }
    Ok(report)
}

/// The names that an image should have and has not: what is looked for by name is not found then,
/// and collected.
fn missing_names(repository: &Repository, image: &Image) -> Result<Vec<Place>> {
    let layers = image.layers()?;
    let streams = layers.iter().map(|(id, _)| tag::layer(id));
    let streams = streams.chain([tag::config(&image.manifest.config.digest)]);
    let names = streams.map(|name| (Category::Streams, name));
    let images = image.composefs_images().map(|digest| digest.to_string());
    let mut missing = Vec::new();
    for (category, name) in names.chain(images.map(|name| (Category::Images, name))) {
        // One that leads elsewhere was found before.
        if let Ok(None) = repository.lookup(category, &name) {
            missing.push(Place::Name(category, name));
        }
    }
    Ok(missing)
}
