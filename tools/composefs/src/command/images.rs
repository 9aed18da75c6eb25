// SPDX-License-Identifier: GPL-2.0-only
//! `composefs images`, and what changes the names of images.

use std::io::Write;

use anyhow::{bail, Result};
use clap::Args;
use composefs_oci::image::{self, Image};
use composefs_tools::quote;
use serde::Serialize;

use crate::fetched;
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
    /// Of one that was fetched there is no manifest.
    manifest_digest: Option<String>,
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
                    manifest_digest: Some(image.digest.to_string()),
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
        for (name, digest) in fetched::all(&repository)? {
            listed.push(Listed {
                name,
                manifest_digest: None,
                layer_count: 0,
                composefs: Some(digest),
                artifact_type: None,
                architecture: None,
                os: None,
                created: None,
            });
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
            let digest = image.manifest_digest.as_deref();
            let digest = digest.and_then(|digest| digest.split_once(':')?.1.get(..SHORT));
            let digest = digest.unwrap_or("-");
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
        match Image::open(&repository, &self.image) {
            Ok(image) => image::name(&repository, &image.digest, &self.name),
            Err(error) => match fetched::find(&repository, &self.image)? {
                Some(digest) => fetched::name(&repository, &self.name, &digest),
                None => Err(error),
            },
        }
    }
}

impl Untag {
    pub fn run(self, place: &Place) -> Result<()> {
        let repository = place.open()?;
        repository.expect_writable()?;
        let name = &self.name;
        if !image::unname(&repository, name)? && !fetched::unname(&repository, name, false)? {
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
            match Image::open(&repository, name) {
                Ok(image) => digests.push(image.digest),
                Err(error) => {
                    if !fetched::unname(&repository, name, true)? {
                        return Err(error);
                    }
                }
            }
        }
        for (name, image) in Image::all(&repository)? {
            if image.is_ok_and(|image| digests.contains(&image.digest)) {
                image::unname(&repository, &name)?;
            }
        }
        Ok(())
    }
}
