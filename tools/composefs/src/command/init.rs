// SPDX-License-Identifier: GPL-2.0-only
//! `composefs init`.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use composefs_tools::cli;
use composefs_tools::fsverity::Algorithm;

use crate::place::{self, Place};

/// Make a repository; pull makes one as well, if there is none
#[derive(Args, Debug)]
pub struct Options {
    /// Where (default: as --repo)
    path: Option<PathBuf>,

    /// The algorithm of its digests: sha256 or sha512
    #[arg(long, default_value = "sha256", value_parser = cli::algorithm)]
    algorithm: Algorithm,

    /// Do without fs-verity, even where the file system has it
    #[arg(long)]
    insecure: bool,
}

impl Options {
    pub fn run(self, place: &Place) -> Result<()> {
        let path = match self.path {
            Some(path) => path,
            None => place.path()?,
        };
        place::make(&path, self.algorithm, !self.insecure)
    }
}
