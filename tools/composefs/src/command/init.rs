// SPDX-License-Identifier: GPL-2.0-only
//! `composefs init`.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use composefs_repository::ErofsFormats;
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

    /// The format version of the images in it: 1, or 2, which composefs-rs made first; with 1,2 or
    /// 2,1 there are both of every image, and the first is mounted
    #[arg(
        long,
        value_name = "N",
        value_delimiter = ',',
        default_values_t = [place::FORMAT],
        value_parser = clap::value_parser!(u8).range(1..=2)
    )]
    erofs_version: Vec<u8>,

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
        let mut versions = self.erofs_version.into_iter();
        let default = versions.next().unwrap_or(place::FORMAT);
        let formats = ErofsFormats::with_extra(default, versions);
        place::make(&path, self.algorithm, formats, !self.insecure)
    }
}
