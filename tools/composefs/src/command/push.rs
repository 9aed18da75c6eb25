// SPDX-License-Identifier: GPL-2.0-only
//! `composefs push`.

use std::io::Write;

use anyhow::{Context, Result};
use clap::Args;
use composefs_oci::destination;
use composefs_oci::image::Image;
use composefs_oci::origin;
use composefs_oci::reference::Reference;
use composefs_tools::progress::Lines;
use composefs_tools::quote;

use crate::access::Access;
use crate::place::Place;

/// Put an image into a registry or a directory, with its signatures
///
/// Layers are put as the blobs that they were if the registry has them, or if where the image was
/// pulled from still has them; else they are compressed anew, which makes another manifest, but the
/// same composefs image.
#[derive(Args, Debug)]
pub struct Options {
    /// The image
    image: String,

    /// Where it is to be: docker://REGISTRY/NAME[:TAG] or oci:DIR[:TAG]
    to: Reference,

    #[command(flatten)]
    access: Access,
}

impl Options {
    pub fn run(self, place: &Place, out: &mut dyn Write) -> Result<()> {
        let repository = place.open()?;
        let image = Image::open(&repository, &self.image)?;
        let settings = self.access.settings();
        let context = || format!("cannot push {}", quote::bytes(self.image.as_bytes()));
        let push = || {
            let destination = destination::open(&self.to, &settings)?;
            let _progress = Lines::default().of_time("putting the image");
            composefs_oci::push(&repository, &image, &*destination, &settings)
        };
        let pushed = push().with_context(context)?;
        for layer in &pushed.compressed {
            eprintln!("composefs: layer {layer}: compressed anew, as it is nowhere as it was");
        }
        if pushed.digest == image.digest && repository.expect_writable().is_ok() {
            // It is there now, whatever became of where it was before.
            if matches!(self.to, Reference::Registry(_)) {
                origin::note(&repository, &image.digest, &self.to)?;
            }
        }
        writeln!(out, "{}", pushed.digest)?;
        Ok(())
    }
}
