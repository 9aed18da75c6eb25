// SPDX-License-Identifier: GPL-2.0-only
//! Who may have objects.

mod directory;
mod image;
mod server;

use std::io::Read;
use std::ops::Range;
use std::path::Path;

use anyhow::{Error, Result};
use composefs_http::Access;

pub use image::Image;

/// Why a file does not come.
#[derive(Debug)]
pub enum Refusal {
    /// The source has it not.
    Absent,
    /// The source is no good; it is said of which file.
    Broken(Error),
}

impl Refusal {
    /// What is wrong with a source that said that it has the file at `path`.
    pub(crate) fn into_error(self, path: &str) -> Error {
        match self {
            Self::Absent => anyhow::anyhow!("is not there").context(path.to_owned()),
            Self::Broken(error) => error,
        }
    }
}

/// One who may have objects.
pub trait Source: Send + Sync {
    /// As it was given.
    fn name(&self) -> &str;

    /// How many files it may be asked for at a time.
    fn parallel(&self) -> usize;

    /// Begins to read a file of it, or a part of the file, which is no longer than that. What comes
    /// may be anything.
    ///
    /// # Errors
    /// If it does not give it.
    fn open(&self, path: &str, part: Option<Range<u64>>) -> Result<Box<dyn Read + '_>, Refusal>;

    /// The image, if what it has is in the layers of one. It has no files then.
    fn image(&self) -> Option<&Image> {
        None
    }
}

/// The source of this name: an address of HTTP or HTTPS below which the objects are, or an export; an
/// OCI image, in a registry (`docker://…`) or elsewhere; or a directory of objects, of a repository,
/// or of an export.
///
/// # Errors
/// If it cannot be one.
pub fn open(name: &str, access: &Access) -> Result<Box<dyn Source>> {
    if let Ok(reference) = name.parse() {
        return Ok(Box::new(Image::new(name, reference, access)));
    }
    Ok(match name.split_once("://") {
        Some(("http" | "https", _)) => Box::new(server::Server::new(name, access.clone())),
        Some((scheme, _)) => {
            anyhow::bail!(
                "{scheme}: is not a way to fetch objects; http, https, docker and paths are"
            )
        }
        None => Box::new(directory::Directory::open(name, Path::new(name))?),
    })
}
