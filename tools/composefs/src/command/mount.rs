// SPDX-License-Identifier: GPL-2.0-only
//! `composefs mount` and `composefs umount`.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;
use composefs_format::Verity;
use composefs_mount::options::{Options as Mount, Proof, Upper};
use composefs_tools::quote;
use rustix::mount::{unmount, UnmountFlags};

use crate::fetched::composefs;
use crate::place::Place;

/// Mount an image
#[derive(Args, Debug)]
pub struct Options {
    /// The image
    image: String,
    /// Where
    target: PathBuf,
    /// Have a layer on top that can be written to, and is kept in this directory
    #[arg(long, value_name = "DIR")]
    writable: Option<PathBuf>,
}

/// Unmount an image
#[derive(Args, Debug)]
pub struct Unmount {
    /// Where it is mounted
    target: PathBuf,
}

impl Options {
    pub fn run(self, place: &Place) -> Result<()> {
        let repository = place.open()?;
        let digest = composefs(&repository, &self.image)?;
        let image = repository.object(&digest)?;
        let context = || format!("cannot mount {}", quote::bytes(self.image.as_bytes()));
        let mut options = Mount {
            basedirs: vec![repository.objects_path()],
            ..Mount::default()
        };
        // Without fs-verity the digest was compared above, and the kernel could not.
        match repository.is_secure() {
            true => options.digest = Some(digest),
            false => options.verity = Some(Proof::Must(Verity::Off)),
        }
        if let Some(dir) = &self.writable {
            let upper = Upper {
                dir: dir.join("upper"),
                work: dir.join("work"),
            };
            for dir in [&upper.dir, &upper.work] {
                std::fs::create_dir_all(dir).with_context(|| quote::path(dir).to_string())?;
            }
            options.upper = Some(upper);
        }
        composefs_mount::mount(&image, &options, &self.target).with_context(context)
    }
}

impl Unmount {
    pub fn run(self) -> Result<()> {
        unmount(&self.target, UnmountFlags::NOFOLLOW)
            .with_context(|| format!("cannot unmount {}", quote::path(&self.target)))
    }
}
