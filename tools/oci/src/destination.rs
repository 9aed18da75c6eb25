// SPDX-License-Identifier: GPL-2.0-only
//! Where images are put.

mod layout;

use anyhow::{bail, Result};
use composefs_http::Content;
use serde_json::{json, Value};

use crate::digest::BlobDigest;
use crate::reference::Reference;
use crate::source::registry::{Registry, Settings};

/// A place that images are put into, and a name there.
pub trait Destination {
    /// Whether a blob is there.
    ///
    /// # Errors
    /// If that cannot be found out.
    fn has_blob(&self, digest: &BlobDigest) -> Result<bool>;

    /// Has it take a blob from where an image came from, without its being sent. Whether it does.
    ///
    /// # Errors
    /// If it cannot be asked.
    fn take_blob(&self, digest: &BlobDigest, from: &Reference) -> Result<bool>;

    /// Puts a blob.
    ///
    /// # Errors
    /// If it cannot be.
    fn put_blob(&self, digest: &BlobDigest, content: &Content) -> Result<()>;

    /// Puts a manifest, without a name.
    ///
    /// # Errors
    /// If it cannot be.
    fn put_manifest(&self, manifest: &Put) -> Result<()>;

    /// Puts the manifest of an artifact of this kind that is about an image.
    ///
    /// # Errors
    /// If it cannot be.
    fn put_referrer(&self, manifest: &Put, kind: &str, subject: &BlobDigest) -> Result<()>;

    /// Gives a manifest that is there the name.
    ///
    /// # Errors
    /// If it cannot be.
    fn name(&self, manifest: &Put) -> Result<()>;
}

/// A manifest that is put.
#[derive(Clone, Debug)]
pub struct Put<'a> {
    /// Its digest.
    pub digest: BlobDigest,
    /// Its type.
    pub media_type: &'static str,
    /// It.
    pub text: &'a [u8],
}

impl<'a> Put<'a> {
    /// One of this type.
    pub fn new(media_type: &'static str, text: &'a [u8]) -> Self {
        Self {
            digest: BlobDigest::of(text),
            media_type,
            text,
        }
    }

    /// What an index says of it, and something else.
    pub fn describe(&self, key: &str, value: Value) -> Value {
        json!({
            "mediaType": self.media_type,
            "digest": self.digest.as_str(),
            "size": self.text.len(),
            key: value,
        })
    }
}

/// Opens where an image is to be.
///
/// # Errors
/// If it cannot be reached, or nothing can be put there.
pub fn open(reference: &Reference, settings: &Settings) -> Result<Box<dyn Destination>> {
    Ok(match reference {
        Reference::Registry(name) => Box::new(Registry::open_to_push(name, settings)?),
        Reference::Layout(path, tag) => Box::new(layout::Layout::open(path, tag.as_deref())?),
        Reference::Archive(..) | Reference::Storage(_) => {
            bail!("images can be put to docker://… and oci:…")
        }
    })
}
