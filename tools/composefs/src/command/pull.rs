// SPDX-License-Identifier: GPL-2.0-only
//! `composefs pull`.

use std::io::Write;

use anyhow::{anyhow, bail, Context, Result};
use clap::Args;
use composefs_oci::manifest::Platform;
use composefs_oci::origin;
use composefs_oci::source::{self, Source};
use composefs_tools::quote;

use crate::access::Access;
use crate::place::Place;
use crate::progress::Pulling;
use crate::trust::Trust;

/// Fetch an image, or an artifact
#[derive(Args, Debug)]
pub struct Options {
    /// Where it is: docker://REGISTRY/NAME[:TAG|@DIGEST], oci:DIR[:TAG], oci-archive:FILE[:TAG] or
    /// containers-storage:NAME
    image: String,

    /// What it is to be called (default: as it is given)
    name: Option<String>,

    /// For which machines: OS/ARCHITECTURE[/VARIANT] (default: this one)
    #[arg(long, value_name = "PLATFORM", value_parser = platform)]
    platform: Option<Platform>,

    /// Take it only if it is signed by somebody who is trusted; nothing but its manifest and its
    /// configuration is fetched before that is known. The signatures are kept, and mount gives them
    /// to the kernel
    #[arg(long)]
    require_signature: bool,

    #[command(flatten)]
    trust: Trust,

    #[command(flatten)]
    access: Access,
}

impl Options {
    pub fn run(self, place: &Place, out: &mut dyn Write) -> Result<()> {
        let reference = self.image.parse()?;
        let signers = match self.require_signature {
            true => Some(self.trust.certificates()?),
            // To ignore what is about trust would be to lie.
            false if self.trust.is_said() => {
                bail!("--cert and --keyring need --require-signature")
            }
            false => None,
        };
        let repository = place.open_or_make()?;
        let name = self.name.as_deref().unwrap_or(&self.image);
        let platform = self.platform.unwrap_or_else(Platform::host);
        let progress = Pulling::default();
        let settings = self.access.settings();
        let pull = || {
            let source: Box<dyn Source> = source::open(&reference, &settings)?;
            let digest = composefs_oci::pull(
                &repository,
                &*source,
                &platform,
                name,
                signers.as_deref(),
                &progress,
            )?;
            origin::note(&repository, &digest, &reference)?;
            anyhow::Ok(digest)
        };
        let digest = pull()
            .with_context(|| format!("cannot pull {}", quote::bytes(self.image.as_bytes())))?;
        drop(progress);
        writeln!(out, "{digest}")?;
        Ok(())
    }
}

fn platform(text: &str) -> Result<Platform> {
    let mut parts = text.split('/').map(str::to_owned);
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(os), Some(architecture), variant, None) => Ok(Platform {
            architecture,
            os,
            variant,
        }),
        _ => Err(anyhow!("is not OS/ARCHITECTURE[/VARIANT]")),
    }
}
