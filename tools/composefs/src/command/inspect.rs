// SPDX-License-Identifier: GPL-2.0-only
//! What is in an image, and what it is called elsewhere.

use std::io::Write;

use anyhow::{Context, Result};
use clap::Args;
use composefs_oci::image::{self, Image};
use composefs_oci::origin;
use composefs_tools::contents::{self, Filter};
use composefs_tools::fsverity::BLOCK_SIZE;
use composefs_tools::info::ls;
use serde::Serialize;

use crate::fetched::composefs;
use crate::place::Place;

/// Say what is known of an image, as JSON
#[derive(Args, Debug)]
pub struct Options {
    /// The image
    image: String,
    /// Print its manifest as it was fetched
    #[arg(long, conflicts_with = "config")]
    manifest: bool,
    /// Print its configuration as it was fetched
    #[arg(long)]
    config: bool,
}

/// List the files of an image, with their objects and link targets
#[derive(Args, Debug)]
pub struct List {
    /// The image
    image: String,
}

/// Print the fs-verity digest of an image: what digest= of mount takes
#[derive(Args, Debug)]
pub struct Digest {
    /// The image
    image: String,
    /// Make it anew from its layers, and print that of what was made
    #[arg(long)]
    compute: bool,
}

/// Print what a kernel's command line needs to start from an image
#[derive(Args, Debug)]
pub struct Karg {
    /// The image
    image: String,
}

#[derive(Serialize)]
struct Inspected {
    manifest: serde_json::Value,
    /// Of an artifact it may be anything.
    config: Option<serde_json::Value>,
    manifest_digest: String,
    artifact_type: Option<String>,
    origin: Option<String>,
    composefs: Option<String>,
}

impl Options {
    pub fn run(self, place: &Place, out: &mut dyn Write) -> Result<()> {
        let repository = place.open()?;
        let image = Image::open(&repository, &self.image)?;
        let text = match (self.manifest, self.config) {
            (true, _) => image.manifest_text,
            (_, true) => image.config_text,
            _ => {
                let inspected = Inspected {
                    composefs: image
                        .composefs(&repository)
                        .ok()
                        .map(|digest| digest.to_string()),
                    manifest: serde_json::from_slice(&image.manifest_text)?,
                    config: serde_json::from_slice(&image.config_text).ok(),
                    artifact_type: image.manifest.artifact_type().map(str::to_owned),
                    manifest_digest: image.digest.to_string(),
                    origin: origin::noted(&repository, &image.digest),
                };
                serde_json::to_vec_pretty(&inspected)?
            }
        };
        out.write_all(&text)?;
        writeln!(out)?;
        Ok(())
    }
}

impl List {
    pub fn run(self, place: &Place, out: &mut dyn Write) -> Result<()> {
        let repository = place.open()?;
        let digest = composefs(&repository, &self.image)?;
        let image = contents::open_file(repository.object(&digest)?);
        let context = || repository.name_object(&digest);
        ls::print(&image.with_context(context)?, &Filter::new(&[])?, out).with_context(context)
    }
}

impl Digest {
    pub fn run(self, place: &Place, out: &mut dyn Write) -> Result<()> {
        let repository = place.open()?;
        let digest = match self.compute {
            false => composefs(&repository, &self.image)?,
            true => {
                let image = Image::open(&repository, &self.image)?;
                let version = repository.metadata().erofs_formats().default();
                let context = || image::title(&self.image);
                image.expect_file_system().with_context(context)?;
                image::digest(&repository, &image.layers()?, version)?
            }
        };
        writeln!(out, "{digest}")?;
        Ok(())
    }
}

impl Karg {
    pub fn run(self, place: &Place, out: &mut dyn Write) -> Result<()> {
        let repository = place.open()?;
        let digest = composefs(&repository, &self.image)?;
        let (name, bits) = (digest.algorithm().name(), BLOCK_SIZE.trailing_zeros());
        let version = repository.metadata().erofs_formats().default();
        let optional = if repository.is_secure() { "" } else { "?" };
        match version {
            2 => writeln!(out, "composefs={optional}{digest}")?,
            version => writeln!(
                out,
                "composefs.digest={optional}v{version}-{name}-{bits}:{digest}"
            )?,
        }
        Ok(())
    }
}
