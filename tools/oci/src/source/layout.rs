// SPDX-License-Identifier: GPL-2.0-only
//! A directory as OCI lays it out: `index.json`, and blobs by their digests.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{bail, Context, Result};
use composefs_tools::quote;

use super::{read_index, Root, Source};
use crate::digest::BlobDigest;
use crate::manifest::Descriptor;

/// What says which images there are.
pub(crate) const INDEX: &str = "index.json";
/// What the tag of an image is annotated as.
pub(crate) const TAG: &str = "org.opencontainers.image.ref.name";

/// A directory.
#[derive(Debug)]
pub struct Layout {
    path: PathBuf,
    tag: Option<String>,
}

impl Layout {
    /// The one at `path`, and the image of this tag.
    pub fn new(path: &Path, tag: Option<String>) -> Self {
        Self {
            path: path.to_owned(),
            tag,
        }
    }

    fn open(&self, name: &str) -> Result<File> {
        let path = self.path.join(name);
        File::open(&path).with_context(|| quote::path(&path).to_string())
    }
}

impl Source for Layout {
    fn root(&self) -> Result<Root> {
        let index = self.open(INDEX)?;
        root(index, self.tag.as_deref())
            .with_context(|| quote::path(&self.path.join(INDEX)).to_string())
    }

    fn blob(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + Send + '_>> {
        Ok(Box::new(self.open(&blob_path(&descriptor.digest))?))
    }

    fn referrers(&self, _: &BlobDigest, kind: &str) -> Result<Vec<Descriptor>> {
        of_kind(self.open(INDEX)?, kind)
            .with_context(|| quote::path(&self.path.join(INDEX)).to_string())
    }
}

/// Where a blob is.
pub(crate) fn blob_path(digest: &BlobDigest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

/// The artifacts of a kind in an index. What they are about, they say themselves.
pub(super) fn of_kind(index: impl Read, kind: &str) -> Result<Vec<Descriptor>> {
    let mut all = read_index(index)?;
    all.retain(|descriptor| descriptor.artifact_type.as_deref() == Some(kind));
    Ok(all)
}

/// The images of an index that have a tag, or all of them.
pub(super) fn root(index: impl Read, tag: Option<&str>) -> Result<Root> {
    let mut all = read_index(index)?;
    all.retain(|descriptor| match (tag, descriptor.annotations.get(TAG)) {
        (Some(tag), found) => found.is_some_and(|found| found == tag),
        // What is about another image is none itself.
        (None, found) => descriptor.artifact_type.is_none() || found.is_some(),
    });
    if let Some(tag) = tag.filter(|_| all.is_empty()) {
        bail!("has no image with the tag {}", quote::bytes(tag.as_bytes()));
    }
    let plain = all
        .iter()
        .filter(|descriptor| descriptor.platform.is_none())
        .count();
    if plain > 1 {
        bail!("has {plain} images; say which, by its tag");
    }
    Ok(Root::Descriptors(all))
}
