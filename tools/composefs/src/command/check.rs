// SPDX-License-Identifier: GPL-2.0-only
//! `composefs fsck`.

use std::io::Write;

use anyhow::{bail, Result};
use clap::Args;
use composefs_oci::image::Image;
use composefs_repository::fsck::{self, Depth};
use serde::Serialize;

use crate::place::Place;

/// Check the repository
#[derive(Args, Debug)]
pub struct Options {
    /// Check the content of every object, and not only that it is there
    #[arg(long)]
    contents: bool,
    /// As JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Told {
    ok: bool,
    objects: u64,
    streams: u64,
    images: u64,
    errors: Vec<String>,
}

impl Options {
    pub fn run(self, place: &Place, out: &mut dyn Write) -> Result<()> {
        let repository = place.open()?;
        let depth = match self.contents {
            true => Depth::Contents,
            false => Depth::Structure,
        };
        let report = fsck::check(&repository, depth)?;
        let mut errors: Vec<String> = report.faults.iter().map(ToString::to_string).collect();
        for (_, image) in Image::all(&repository)? {
            let opened = image.and_then(|image| image.layers());
            errors.extend(opened.err().map(|error| format!("{error:#}")));
        }
        let told = Told {
            ok: errors.is_empty(),
            objects: report.objects,
            streams: report.streams,
            images: report.images,
            errors,
        };
        if self.json {
            serde_json::to_writer_pretty(&mut *out, &told)?;
            writeln!(out)?;
        } else {
            let Told {
                objects,
                streams,
                images,
                ..
            } = told;
            told.errors
                .iter()
                .try_for_each(|error| writeln!(out, "{error}"))?;
            writeln!(out, "{objects} objects, {streams} streams, {images} images")?;
        }
        match told.errors.len() {
            0 => Ok(()),
            1 => bail!("1 fault was found"),
            count => bail!("{count} faults were found"),
        }
    }
}
