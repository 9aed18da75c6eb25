// SPDX-License-Identifier: GPL-2.0-only
//! Putting a layer: as the blob that it was, if that is there already, if the stream has all of it,
//! or if where it came from still has it; else compressed anew.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::sync::Arc;

use anyhow::{bail, Context, Result};
use composefs_http::Content;
use composefs_repository::stream::{Chunk, Reader};
use composefs_repository::Repository;
use composefs_tools::fsverity::Digest;

use crate::checked::Checked;
use crate::compression::Compression;
use crate::destination::Destination;
use crate::digest::{BlobDigest, Hasher};
use crate::layers::Layer;
use crate::manifest::Descriptor;
use crate::reference::Reference;
use crate::source::registry::{is_unreachable, Settings};
use crate::source::{self, Source};

/// How well layers are compressed that are compressed anew: as well as builders do it.
const ZSTD_LEVEL: i32 = 3;

/// A blob that is where it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blob {
    pub digest: BlobDigest,
    pub size: u64,
}

/// Where layers come from and go.
pub struct Sending<'a> {
    pub repository: &'a Repository,
    pub destination: &'a dyn Destination,
    /// Where the image came from.
    origin: Option<Reference>,
    /// The same, once it is needed; `None` if it has nothing.
    source: Option<Option<Box<dyn Source>>>,
    settings: &'a Settings,
    /// What was compressed anew.
    pub compressed: Vec<BlobDigest>,
}

impl<'a> Sending<'a> {
    /// From a repository, or from where an image in it came from.
    pub fn new(
        repository: &'a Repository,
        destination: &'a dyn Destination,
        origin: Option<Reference>,
        settings: &'a Settings,
    ) -> Self {
        Self {
            repository,
            destination,
            origin,
            source: None,
            settings,
            compressed: Vec::new(),
        }
    }

    /// Puts a layer, of which there is a stream.
    pub fn put(&mut self, layer: &Layer, stream: &Digest) -> Result<Blob> {
        let descriptor = layer.descriptor;
        let as_it_was = Blob {
            digest: descriptor.digest.clone(),
            size: descriptor.size,
        };
        if self.destination.has_blob(&descriptor.digest)? {
            return Ok(as_it_was);
        }
        if let Some(origin) = &self.origin {
            if self.destination.take_blob(&descriptor.digest, origin)? {
                return Ok(as_it_was);
            }
        }
        let compression = layer.compression()?;
        let content = match compression {
            Compression::None => Some(self.copy(stream, descriptor)?),
            Compression::Gzip | Compression::Zstd => self.fetch(descriptor),
        };
        if let Some(content) = content {
            self.destination.put_blob(&descriptor.digest, &content)?;
            return Ok(as_it_was);
        }
        let (digest, content) = self.compress(stream, compression)?;
        self.put_content(&digest, &content)?;
        self.compressed.push(descriptor.digest.clone());
        Ok(Blob {
            digest,
            size: content.size(),
        })
    }

    /// Puts a blob, unless it is there.
    pub fn put_content(&self, digest: &BlobDigest, content: &Content) -> Result<()> {
        if !self.destination.has_blob(digest)? {
            self.destination.put_blob(digest, content)?;
        }
        Ok(())
    }

    /// The blob that a stream is.
    fn copy(&self, stream: &Digest, descriptor: &Descriptor) -> Result<Content> {
        let (digest, content) = self.compress(stream, Compression::None)?;
        if digest != descriptor.digest || content.size() != descriptor.size {
            bail!("is damaged: its digest is {digest}");
        }
        Ok(content)
    }

    /// The blob from where the image came from; `None` if it is not there any more.
    fn fetch(&mut self, descriptor: &Descriptor) -> Option<Content> {
        let source = self.source.get_or_insert_with(|| {
            let origin = self.origin.as_ref()?;
            source::open(origin, self.settings).ok()
        });
        let open = source.as_ref()?;
        let fetch = || {
            let mut spool = Spool::new()?;
            let mut blob = Checked::new(open.blob(descriptor)?, descriptor.size);
            io::copy(&mut blob, &mut spool)?;
            blob.expect(&descriptor.digest, descriptor.size)?;
            Ok(spool.finish()?.1)
        };
        match fetch() {
            Ok(content) => Some(content),
            Err(error) => {
                if is_unreachable(&error) {
                    // One wait is enough.
                    *source = None;
                }
                None
            }
        }
    }

    fn compress(&self, stream: &Digest, by: Compression) -> Result<(BlobDigest, Content)> {
        let mut spool = Spool::new()?;
        match by {
            Compression::None => self.write(stream, &mut spool)?,
            Compression::Gzip => {
                let level = flate2::Compression::default();
                let mut encoder = flate2::write::GzEncoder::new(&mut spool, level);
                self.write(stream, &mut encoder)?;
                encoder.finish()?;
            }
            Compression::Zstd => {
                let mut encoder = zstd::stream::write::Encoder::new(&mut spool, ZSTD_LEVEL)?;
                self.write(stream, &mut encoder)?;
                encoder.finish()?;
            }
        }
        spool.finish()
    }

    /// Writes all that a stream is.
    fn write(&self, stream: &Digest, to: &mut dyn Write) -> Result<()> {
        let repository = self.repository;
        let mut reader = Reader::open(repository.object(stream)?, repository.algorithm())?;
        while let Some(chunk) = reader.next_chunk()? {
            match chunk {
                Chunk::Inline(_) => io::copy(&mut reader, to)?,
                Chunk::External(object) => io::copy(&mut repository.object(&object)?, to)?,
            };
        }
        Ok(())
    }
}

/// A file without a name, of which the digest is known.
struct Spool {
    file: BufWriter<File>,
    hasher: Hasher,
    size: u64,
}

impl Spool {
    fn new() -> Result<Self> {
        let file = tempfile::tempfile().context("temporary file")?;
        Ok(Self {
            file: BufWriter::new(file),
            hasher: Hasher::default(),
            size: 0,
        })
    }

    fn finish(self) -> Result<(BlobDigest, Content)> {
        let file = self.file.into_inner().context("temporary file")?;
        let content = Content::File(Arc::new(file), self.size);
        Ok((self.hasher.finish(), content))
    }
}

impl Write for Spool {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let count = self.file.write(data)?;
        self.hasher.update(data.get(..count).unwrap_or_default());
        self.size = self.size.saturating_add(count as u64);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
