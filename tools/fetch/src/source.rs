// SPDX-License-Identifier: GPL-2.0-only
//! Who may have objects.

mod directory;
mod server;

use std::io::Read;
use std::path::Path;

use anyhow::{Error, Result};
use composefs_http::Access;

use crate::missing::Wanted;

/// Why an object does not come.
#[derive(Debug)]
pub enum Refusal {
    /// The source has it not, and never said that it has.
    Absent,
    /// The source is no good.
    Broken(Error),
}

/// One who may have objects.
pub trait Source: Sync {
    /// As it was given.
    fn name(&self) -> &str;

    /// How many objects it may be asked for at a time.
    fn parallel(&self) -> usize;

    /// Begins to read an object. What comes may be anything.
    ///
    /// # Errors
    /// If it does not give it.
    fn open(&self, wanted: &Wanted) -> Result<Box<dyn Read + '_>, Refusal>;
}

/// The source of this name: an address of HTTP or HTTPS below which the objects are, or a directory
/// of objects or of a repository.
///
/// # Errors
/// If it cannot be one.
pub fn open(name: &str, access: &Access) -> Result<Box<dyn Source>> {
    Ok(match name.split_once("://") {
        Some(("http" | "https", _)) => Box::new(server::Server::new(name, access.clone())),
        Some((scheme, _)) => {
            anyhow::bail!("{scheme}: is not a way to fetch objects; http, https and paths are")
        }
        None => Box::new(directory::Directory::open(name, Path::new(name))?),
    })
}
