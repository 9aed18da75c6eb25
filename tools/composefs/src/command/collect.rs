// SPDX-License-Identifier: GPL-2.0-only
//! `composefs gc`.

use std::io::Write;

use anyhow::Result;
use clap::Args;
use composefs_oci::referrer;
use composefs_repository::gc::{self, Removed};
use serde::Serialize;

use crate::place::Place;

/// Remove what no image needs that has a name, or is mounted
#[derive(Args, Debug)]
pub struct Options {
    /// Only say what would be removed
    #[arg(long, short = 'n')]
    dry_run: bool,
    /// As JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Told {
    dry_run: bool,
    objects_removed: u64,
    objects_bytes: u64,
    images_pruned: u64,
    streams_pruned: u64,
}

impl Options {
    pub fn run(self, place: &Place, out: &mut dyn Write) -> Result<()> {
        let repository = place.open()?;
        if !self.dry_run {
            repository.expect_writable()?;
            repository.lock_out_others(|| {
                eprintln!("composefs: waiting for others who use the repository");
            })?;
        }
        let Removed {
            objects,
            bytes,
            images,
            streams,
            ..
        } = gc::collect(&repository, referrer::subject, self.dry_run)?;
        if self.json {
            serde_json::to_writer_pretty(
                &mut *out,
                &Told {
                    dry_run: self.dry_run,
                    objects_removed: objects,
                    objects_bytes: bytes,
                    images_pruned: images,
                    streams_pruned: streams,
                },
            )?;
            writeln!(out)?;
            return Ok(());
        }
        let what = if self.dry_run {
            "would be removed"
        } else {
            "removed"
        };
        writeln!(
            out,
            "{objects} objects of {bytes} bytes, {images} images and {streams} streams {what}"
        )?;
        Ok(())
    }
}
