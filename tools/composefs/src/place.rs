// SPDX-License-Identifier: GPL-2.0-only
//! Which repository is meant.

use std::path::PathBuf;

use anyhow::{anyhow, bail, Result};
use clap::Args;
use composefs_repository::{ErofsFormats, Made, Metadata, Repository};
use composefs_tools::environment::path_or_in_home;
use composefs_tools::fsverity::Algorithm;
use composefs_tools::quote;
use composefs_tools::verity::Obstacle;

/// The system's.
const SYSTEM: &str = "/var/lib/composefs";
/// What it is in.
const AROUND: &str = "/var/lib";
/// Whoever is not root has one below this, or below the home directory.
const DATA: &str = "XDG_DATA_HOME";
const DATA_OF_HOME: &str = ".local/share";
/// The format version of the images that are made where none is asked for.
pub const FORMAT: u8 = 1;

/// The options that say which.
#[derive(Args, Debug)]
pub struct Place {
    /// The repository (default: /var/lib/composefs; of a user, ~/.local/share/composefs)
    #[arg(long, global = true, value_name = "DIR", env = "COMPOSEFS_REPOSITORY")]
    repo: Option<PathBuf>,
}

impl Place {
    /// Its path.
    pub fn path(&self) -> Result<PathBuf> {
        if let Some(path) = &self.repo {
            return Ok(path.clone());
        }
        if is_root() {
            return Ok(SYSTEM.into());
        }
        let data = path_or_in_home(DATA, DATA_OF_HOME);
        let data =
            data.ok_or_else(|| anyhow!("there is no HOME; say which repository with --repo"))?;
        Ok(data.join("composefs"))
    }

    /// The one that is there.
    pub fn open(&self) -> Result<Repository> {
        Repository::open(&self.path()?)
    }

    /// The one that is there, or else a new one.
    pub fn open_or_make(&self) -> Result<Repository> {
        let path = self.path()?;
        if !path.join("meta.json").exists() {
            make(&path, Algorithm::Sha256, ErofsFormats::only(FORMAT), true)?;
        }
        Repository::open(&path)
    }
}

/// Whether this is the system's root, and not a user who is root in a namespace of their own.
fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    let is_ours = |around: std::fs::Metadata| around.uid() == 0;
    rustix::process::geteuid().is_root() && std::fs::metadata(AROUND).is_ok_and(is_ours)
}

/// Makes a repository. That it cannot be what was wanted is said once.
pub fn make(
    path: &std::path::Path,
    algorithm: Algorithm,
    formats: ErofsFormats,
    verity: bool,
) -> Result<()> {
    let metadata = Metadata::new(algorithm, formats);
    match Repository::init(path, &metadata, verity)? {
        Made::New(Some(Obstacle::Filesystem)) => eprintln!(
            "composefs: {}: without fs-verity, which the file system does not have: what is mounted \
             from there is not protected from being changed",
            quote::path(path)
        ),
        Made::New(Some(obstacle)) => bail!("repository {}: {obstacle}", quote::path(path)),
        Made::New(None) | Made::Existed => {}
    }
    Ok(())
}
