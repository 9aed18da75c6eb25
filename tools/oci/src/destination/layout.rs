// SPDX-License-Identifier: GPL-2.0-only
//! A directory as OCI lays it out, written to.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::{anyhow, Context, Result};
use composefs_http::Content;
use composefs_tools::quote;
use serde_json::{json, Value};
use tempfile::NamedTempFile;

use super::{Destination, Put};
use crate::digest::BlobDigest;
use crate::manifest::{OCI_INDEX, SIZE_MAX};
use crate::reference::Reference;
use crate::source::layout::{blob_path, INDEX, TAG};
use crate::source::read_some;

const LAYOUT: &str = "oci-layout";
const BLOBS: &str = "blobs/sha256";

/// A directory, and a tag in it.
#[derive(Debug)]
pub struct Layout {
    path: PathBuf,
    tag: Option<String>,
}

impl Layout {
    /// The one at `path`, which is made if it is not there.
    ///
    /// # Errors
    /// If it cannot be.
    pub fn open(path: &Path, tag: Option<&str>) -> Result<Self> {
        let layout = Self {
            path: path.to_owned(),
            tag: tag.map(str::to_owned),
        };
        let make = || {
            fs::create_dir_all(path.join(BLOBS))?;
            if !path.join(LAYOUT).exists() {
                let version = json!({"imageLayoutVersion": "1.0.0"});
                layout.write(LAYOUT, &Content::bytes(version.to_string().as_bytes()))?;
            }
            anyhow::Ok(())
        };
        make().with_context(|| quote::path(path).to_string())?;
        Ok(layout)
    }

    /// Writes a file, which is there whole or not at all.
    fn write(&self, name: &str, content: &Content) -> Result<()> {
        let path = self.path.join(name);
        let write = || {
            let dir = path.parent().unwrap_or(&self.path);
            let mut file = NamedTempFile::new_in(dir)?;
            io::copy(&mut content.reader(), &mut file)?;
            file.flush()?;
            let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
            file.as_file().set_permissions(mode)?;
            file.as_file().sync_all()?;
            file.persist(&path)?;
            anyhow::Ok(())
        };
        write().with_context(|| format!("cannot write {}", quote::path(&path)))
    }

    /// Changes the list of what is there.
    fn change_index(&self, change: impl FnOnce(&mut Vec<Value>)) -> Result<()> {
        let path = self.path.join(INDEX);
        let changed = || {
            // Who else changes it waits.
            let lock = File::open(&self.path)?;
            rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive)?;
            let mut index: Value = match File::open(&path) {
                Ok(file) => serde_json::from_slice(&read_some(file)?)?,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []})
                }
                Err(error) => return Err(error.into()),
            };
            let manifests = index.get_mut("manifests").and_then(Value::as_array_mut);
            change(manifests.ok_or_else(|| anyhow!("is not an index"))?);
            let text = index.to_string();
            if text.len() as u64 > SIZE_MAX {
                return Err(anyhow!("would be of more than {SIZE_MAX} bytes"));
            }
            self.write(INDEX, &Content::bytes(text.as_bytes()))
        };
        changed().with_context(|| quote::path(&path).to_string())
    }
}

/// Whether an entry of the list is of this manifest.
fn is_of(entry: &Value, digest: &BlobDigest) -> bool {
    entry.get("digest").and_then(Value::as_str) == Some(digest.as_str())
}

fn tag_of(entry: &Value) -> Option<&str> {
    entry.get("annotations")?.get(TAG)?.as_str()
}

impl Destination for Layout {
    fn has_blob(&self, digest: &BlobDigest) -> Result<bool> {
        Ok(self.path.join(blob_path(digest)).exists())
    }

    fn take_blob(&self, _: &BlobDigest, _: &Reference) -> Result<bool> {
        Ok(false)
    }

    fn put_blob(&self, digest: &BlobDigest, content: &Content) -> Result<()> {
        self.write(&blob_path(digest), content)
    }

    fn put_manifest(&self, manifest: &Put) -> Result<()> {
        self.put_blob(&manifest.digest, &Content::bytes(manifest.text))
    }

    fn put_referrer(&self, manifest: &Put, kind: &str, _: &BlobDigest) -> Result<()> {
        self.put_manifest(manifest)?;
        self.change_index(|all| {
            all.retain(|entry| !is_of(entry, &manifest.digest));
            all.push(manifest.describe("artifactType", kind.into()));
        })
    }

    fn name(&self, manifest: &Put) -> Result<()> {
        self.change_index(|all| {
            match &self.tag {
                Some(tag) => all.retain(|entry| tag_of(entry) != Some(tag)),
                None => {
                    all.retain(|entry| tag_of(entry).is_some() || !is_of(entry, &manifest.digest))
                }
            }
            let annotations = match &self.tag {
                Some(tag) => json!({TAG: tag}),
                None => json!({}),
            };
            // The image comes before what is about it: who does not look at tags takes the first.
            all.insert(0, manifest.describe("annotations", annotations));
        })
    }
}
