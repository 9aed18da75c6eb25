// SPDX-License-Identifier: GPL-2.0-only
//! `composefs images`, and what changes the names of images.

use std::io::Write;

use anyhow::{bail, Result};
use clap::Args;
use composefs_oci::image::{self, Image};
use composefs_tools::quote;
use serde::Serialize;

use crate::place::Place;

/// What is shown of a digest where there is not room for all of it.
const SHORT: usize = 12;

/// List the images
#[derive(Args, Debug)]
pub struct Options {
    /// As JSON
    #[arg(long)]
    json: bool,
}

/// Give an image another name
#[derive(Args, Debug)]
pub struct Tag {
    /// The image
    image: String,
    /// The name, which another image may have now
    name: String,
}

/// Take a name away from an image
#[derive(Args, Debug)]
pub struct Untag {
    /// The name
    name: String,
}

/// Take all names away from images, so that gc removes them
#[derive(Args, Debug)]
pub struct Remove {
    /// The images
    #[arg(required = true)]
    images: Vec<String>,
}

/// What is said of an image.
#[derive(Serialize)]
struct Listed {
    name: String,
    manifest_digest: String,
    /// What it is, if it is not an image of a file system.
    artifact_type: Option<String>,
    architecture: Option<String>,
    os: Option<String>,
    created: Option<String>,
    layer_count: usize,
    composefs: Option<String>,
}

impl Options {
    pub fn run(self, place: &Place, out: &mut dyn Write) -> Result<()> {
        let repository = place.open()?;
        let mut listed = Vec::new();
        for (name, image) in Image::all(&repository)? {
            match image {
                Ok(image) => listed.push(Listed {
                    name,
                    manifest_digest: image.digest.to_string(),
                    layer_count: image.manifest.layers.len(),
                    composefs: image
                        .composefs(&repository)
                        .ok()
                        .map(|digest| digest.to_string()),
                    artifact_type: image.manifest.artifact_type().map(str::to_owned),
                    architecture: image.config.as_ref().and_then(|it| it.architecture.clone()),
                    os: image.config.as_ref().and_then(|config| config.os.clone()),
                    created: image.config.and_then(|config| config.created),
                }),
                // One that is damaged hides no others.
                Err(error) => eprintln!("composefs: {}: {error:#}", image::title(&name)),
            }
        }
        if self.json {
            serde_json::to_writer_pretty(&mut *out, &listed)?;
            writeln!(out)?;
            return Ok(());
        }
        let width = listed
            .iter()
            .map(|image| image.name.chars().count())
            .max()
            .unwrap_or(0)
            .max(4);
        writeln!(
            out,
            "{:width$}  {:SHORT$}  {:8}  LAYERS",
            "NAME", "DIGEST", "ARCH"
        )?;
        for image in &listed {
            let digest = image
                .manifest_digest
                .split_once(':')
                .map_or("", |(_, hex)| hex);
            let digest = digest.get(..SHORT).unwrap_or_default();
            let architecture = match (&image.artifact_type, &image.architecture) {
                (Some(_), _) => "artifact",
                (None, architecture) => architecture.as_deref().unwrap_or("-"),
            };
            let (name, layers) = (&image.name, image.layer_count);
            writeln!(
                out,
                "{name:width$}  {digest:SHORT$}  {architecture:8}  {layers:6}"
            )?;
        }
        Ok(())
    }
}

impl Tag {
    pub fn run(self, place: &Place) -> Result<()> {
        let repository = place.open()?;
        repository.expect_writable()?;
        let image = Image::open(&repository, &self.image)?;
        image::name(&repository, &image.digest, &self.name)
    }
}

impl Untag {
    pub fn run(self, place: &Place) -> Result<()> {
        let repository = place.open()?;
        repository.expect_writable()?;
        if !image::unname(&repository, &self.name)? {
            bail!(
                "image {}: there is none of this name",
                quote::bytes(self.name.as_bytes())
            );
        }
        Ok(())
    }
}

impl Remove {
    pub fn run(self, place: &Place) -> Result<()> {
        let repository = place.open()?;
        repository.expect_writable()?;
        let mut digests = Vec::new();
        for name in &self.images {
            digests.push(Image::open(&repository, name)?.digest);
        }
        for (name, image) in Image::all(&repository)? {
            if image.is_ok_and(|image| digests.contains(&image.digest)) {
                image::unname(&repository, &name)?;
            }
        }
        Ok(())
    }
}
