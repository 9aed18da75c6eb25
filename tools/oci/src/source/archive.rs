// SPDX-License-Identifier: GPL-2.0-only
//! A tar archive of a directory as OCI lays it out.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use anyhow::{anyhow, bail, Context, Result};
use composefs_tools::quote;

use super::layout::{blob_path, of_kind, root, INDEX};
use super::{Root, Source};
use crate::digest::BlobDigest;
use crate::manifest::Descriptor;

/// Most files of an archive: far more than blobs of an image.
const FILES_MAX: usize = 100_000;

/// An archive.
#[derive(Debug)]
pub struct Archive {
    path: PathBuf,
    file: File,
    /// Where files are, and their sizes.
    files: HashMap<PathBuf, (u64, u64)>,
    tag: Option<String>,
}

impl Archive {
    /// The one at `path`, and the image of this tag.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn open(path: &Path, tag: Option<String>) -> Result<Self> {
        let open = || {
            let file = File::open(path)?;
            let files = files(&file).context("is not a tar archive that is not compressed")?;
            anyhow::Ok(Self {
                path: path.to_owned(),
                file,
                files,
                tag,
            })
        };
        open().with_context(|| quote::path(path).to_string())
    }

    fn part(&self, name: &str) -> Result<Part<'_>> {
        let found = self.files.get(Path::new(name)).copied();
        let found = found
            .ok_or_else(|| anyhow!("there is none"))
            .context(name.to_owned());
        let (at, left) = found.with_context(|| quote::path(&self.path).to_string())?;
        Ok(Part {
            file: &self.file,
            at,
            left,
        })
    }
}

fn files(file: &File) -> Result<HashMap<PathBuf, (u64, u64)>> {
    let mut archive = tar::Archive::new(file);
    let mut files = HashMap::new();
    for entry in archive.entries_with_seek()? {
        let entry = entry?;
        if !entry.header().entry_type().is_file() {
            continue;
        }
        let path = entry.path()?;
        let path = path.strip_prefix(".").unwrap_or(&path).to_owned();
        files.insert(path, (entry.raw_file_position(), entry.size()));
        if files.len() > FILES_MAX {
            bail!("has more than {FILES_MAX} files");
        }
    }
    Ok(files)
}

impl Source for Archive {
    fn root(&self) -> Result<Root> {
        let context = || format!("{} in {}", INDEX, quote::path(&self.path));
        root(self.part(INDEX)?, self.tag.as_deref()).with_context(context)
    }

    fn blob(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + Send + '_>> {
        Ok(Box::new(self.part(&blob_path(&descriptor.digest))?))
    }

    fn referrers(&self, _: &BlobDigest, kind: &str) -> Result<Vec<Descriptor>> {
        let context = || format!("{} in {}", INDEX, quote::path(&self.path));
        of_kind(self.part(INDEX)?, kind).with_context(context)
    }
}

/// A file in the archive.
struct Part<'a> {
    file: &'a File,
    at: u64,
    left: u64,
}

impl Read for Part<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let want = buffer
            .len()
            .min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let count = self
            .file
            .read_at(buffer.get_mut(..want).unwrap_or_default(), self.at)?;
        self.at = self.at.saturating_add(count as u64);
        self.left = self.left.saturating_sub(count as u64);
        Ok(count)
    }
}
