// SPDX-License-Identifier: GPL-2.0-only
//! Where images are fetched from. Nothing that comes from there is believed.

pub mod archive;
pub mod layout;
pub mod registry;
pub mod storage;

use std::io::Read;

use anyhow::{bail, Context, Result};

use crate::digest::BlobDigest;
use crate::manifest::{self, choose, Descriptor, Manifest, Named, Platform, SIZE_MAX};
use crate::reference::Reference;

/// Indexes in indexes are followed so far.
const DEPTH_MAX: usize = 4;

/// What a name stands for, where it is.
#[derive(Debug)]
pub enum Root {
    /// The text of a manifest or an index.
    Text(Vec<u8>),
    /// Descriptors of those there are.
    Descriptors(Vec<Descriptor>),
}

/// A place that images are in, with one of them chosen.
pub trait Source: Send + Sync {
    /// What its name stands for.
    ///
    /// # Errors
    /// If it is not there, or cannot be read.
    fn root(&self) -> Result<Root>;

    /// A manifest or an index; at most [`SIZE_MAX`] bytes of it are read.
    ///
    /// # Errors
    /// If it is not there, or cannot be read.
    fn manifest(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + Send + '_>> {
        self.blob(descriptor)
    }

    /// A blob.
    ///
    /// # Errors
    /// If it is not there, or cannot be read.
    fn blob(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + Send + '_>>;

    /// The manifests of what is about the image of a digest and said to be of this kind, or whose
    /// kind is not said.
    ///
    /// # Errors
    /// If that cannot be found out.
    fn referrers(&self, _subject: &BlobDigest, _kind: &str) -> Result<Vec<Descriptor>> {
        Ok(Vec::new())
    }
}

/// A manifest that was found.
#[derive(Debug)]
pub struct Found {
    /// Its digest.
    pub digest: BlobDigest,
    /// Its text.
    pub text: Vec<u8>,
    /// What it says.
    pub manifest: Manifest,
}

/// Finds the image that is for a platform.
///
/// # Errors
/// If there is none, or it cannot be read.
pub fn find(source: &dyn Source, platform: &Platform) -> Result<Found> {
    let mut text = match source.root()? {
        Root::Text(text) => text,
        Root::Descriptors(all) => manifest_text(source, choose(&all, platform)?)?,
    };
    for _ in 0..DEPTH_MAX {
        match manifest::parse(&text)? {
            Named::Manifest(manifest) => {
                return Ok(Found {
                    digest: BlobDigest::of(&text),
                    text,
                    manifest: *manifest,
                })
            }
            Named::Index(all) => text = manifest_text(source, choose(&all, platform)?)?,
        }
    }
    bail!("has an index within {DEPTH_MAX} others")
}

/// Reads an index.
///
/// # Errors
/// If it is none.
pub(crate) fn read_index(index: impl Read) -> Result<Vec<Descriptor>> {
    match manifest::parse(&read_some(index)?)? {
        Named::Index(all) => Ok(all),
        Named::Manifest(_) => bail!("is not an index"),
    }
}

/// Reads a manifest.
///
/// # Errors
/// If it is not what it should be.
pub(crate) fn manifest_text(source: &dyn Source, descriptor: &Descriptor) -> Result<Vec<u8>> {
    let read = || read_text(source.manifest(descriptor)?, descriptor);
    read().with_context(|| format!("manifest {}", descriptor.digest))
}

/// Reads a blob that is text: a configuration.
///
/// # Errors
/// If it is not what it should be.
pub fn blob_text(source: &dyn Source, descriptor: &Descriptor) -> Result<Vec<u8>> {
    let read = || read_text(source.blob(descriptor)?, descriptor);
    read().with_context(|| format!("blob {}", descriptor.digest))
}

fn read_text(stream: impl Read, descriptor: &Descriptor) -> Result<Vec<u8>> {
    let text = read_some(stream)?;
    if text.len() as u64 != descriptor.size {
        bail!("is of {} bytes, not of {}", text.len(), descriptor.size);
    }
    let found = BlobDigest::of(&text);
    if found != descriptor.digest {
        bail!("is not what it should be: its digest is {found}");
    }
    Ok(text)
}

/// Reads what is not to be large.
///
/// # Errors
/// If it is.
pub fn read_some(stream: impl Read) -> Result<Vec<u8>> {
    let mut text = Vec::new();
    stream.take(SIZE_MAX + 1).read_to_end(&mut text)?;
    if text.len() as u64 > SIZE_MAX {
        bail!("is of more than {SIZE_MAX} bytes");
    }
    Ok(text)
}

/// Opens where an image is.
///
/// # Errors
/// If it cannot be reached.
pub fn open(reference: &Reference, settings: &registry::Settings) -> Result<Box<dyn Source>> {
    Ok(match reference {
        Reference::Layout(path, tag) => Box::new(layout::Layout::new(path, tag.clone())),
        Reference::Archive(path, tag) => Box::new(archive::Archive::open(path, tag.clone())?),
        Reference::Registry(name) => Box::new(registry::Registry::open(name, settings)?),
        Reference::Storage(name) => Box::new(storage::Storage::open(name)?),
    })
}
