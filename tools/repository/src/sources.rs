// SPDX-License-Identifier: GPL-2.0-only
//! Who has the objects of an image that are fetched only when they are opened.

use anyhow::Result;
use composefs_tools::fsverity::Digest;
use serde::{Deserialize, Serialize};

use crate::notes::Notes;
use crate::repository::Repository;

/// By the digests of images.
pub(crate) const SOURCES: Notes = Notes {
    dir: "sources",
    max: 64 << 10,
};

/// Whom to ask, and how.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Sources {
    /// Addresses and directories, in this order.
    pub names: Vec<String>,
    /// Whether servers have to prove who they are.
    pub tls_verify: bool,
}

impl Repository {
    /// Notes who has the objects of an image, in place of others.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn set_sources(&self, image: &Digest, sources: &Sources) -> Result<()> {
        SOURCES.write(self, &image.to_string(), &serde_json::to_vec(sources)?)
    }

    /// Who has the objects of an image, if anybody is known.
    pub fn sources(&self, image: &Digest) -> Option<Sources> {
        serde_json::from_slice(&SOURCES.read(self, &image.to_string())?).ok()
    }
}
