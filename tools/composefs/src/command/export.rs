// SPDX-License-Identifier: GPL-2.0-only
//! `composefs export`.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;
use composefs_fetch::export;
use composefs_oci::image::Image;
use composefs_repository::Repository;
use composefs_tools::quote;

use crate::fetched;
use crate::place::Place;

/// Lay images out for a web server, to be fetched with composefs fetch
///
/// Prints the digest of each image, which is its name in DIR/images, and its name here. What is in
/// DIR already stays as it is, but for the list of packs, which is written last.
#[derive(Args, Debug)]
pub struct Options {
    /// Where: a directory, which may be an export already
    dir: PathBuf,

    /// The images (default: all that have a name)
    images: Vec<String>,
}

impl Options {
    pub fn run(self, place: &Place, out: &mut dyn Write) -> Result<()> {
        let context = || format!("cannot export to {}", quote::path(&self.dir));
        let repository = place.open()?;
        let images = match self.images.is_empty() {
            true => all(&repository),
            false => Ok(self.images.iter().cloned().collect()),
        };
        let images: Vec<_> = images
            .with_context(context)?
            .into_iter()
            .map(|name| Ok((to_export(&repository, &name)?, name)))
            .collect::<Result<_>>()
            .with_context(context)?;
        let exported = images.iter().map(|(image, _)| image);
        let new = export::export(&repository, &self.dir, exported).with_context(context)?;
        for (image, name) in &images {
            writeln!(out, "{} {name}", image.digest)?;
        }
        eprintln!(
            "composefs: {} objects are new in {}, {} bytes",
            new.objects,
            quote::path(&self.dir),
            new.bytes
        );
        Ok(())
    }
}

/// An image, and the signatures of it that are here.
fn to_export(repository: &Repository, name: &str) -> Result<export::Image> {
    let (with_manifest, digest) = fetched::open(repository, name)?;
    Ok(export::Image {
        digest,
        signatures: fetched::signatures(repository, with_manifest.as_ref(), &digest)?,
    })
}

/// The names of all images that have one of composefs.
fn all(repository: &Repository) -> Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    for (name, image) in Image::all(repository)? {
        if image?.composefs(repository).is_ok() {
            names.insert(name);
        }
    }
    names.extend(fetched::all(repository)?.into_iter().map(|(name, _)| name));
    Ok(names)
}
