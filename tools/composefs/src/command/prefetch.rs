// SPDX-License-Identifier: GPL-2.0-only
//! `composefs prefetch`.

use anyhow::{anyhow, Context, Result};
use clap::Args;
use composefs_tools::quote;

use crate::ahead;
use crate::fetched;
use crate::place::Place;

/// Read ahead what record has noted of an image, mounted or not
#[derive(Args, Debug)]
pub struct Options {
    /// The image
    image: String,
}

impl Options {
    pub fn run(self, place: &Place) -> Result<()> {
        let context = || format!("cannot prefetch {}", quote::bytes(self.image.as_bytes()));
        let repository = place.open()?;
        // It is a matter of seconds, and not worth waiting for.
        repository.let_others_collect()?;
        let image = fetched::composefs(&repository, &self.image)?;
        let profile = repository.profile(&image).with_context(context)?;
        let profile = profile.ok_or_else(|| anyhow!("it has no profile"));
        ahead::read(&repository, &profile.with_context(context)?);
        Ok(())
    }
}
