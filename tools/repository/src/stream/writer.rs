// SPDX-License-Identifier: GPL-2.0-only
//! Writing a stream.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, Read, Seek, Write};

use anyhow::{Context, Result};
use composefs_tools::fsverity::{Algorithm, Digest};
use composefs_tools::store::Unnamed;

use super::disk::{info, BLOCK_BITS, HEADER, HEADER_SIZE, INFO_SIZE, MAGIC, VERSION};
use super::ContentType;
use crate::temporary::Temporary;

/// Bytes that are collected to be one chunk. composefs-rs knows no end, and reads them all at once.
const CHUNK_MAX: usize = 8 << 20;
/// Compressed content that is kept in memory.
const MEMORY_MAX: usize = 1 << 20;
/// The level of compression that the format's inventors use: zstd's default.
const LEVEL: i32 = 0;

/// Digests, each once, in the order in which they came.
#[derive(Debug, Default)]
struct Digests {
    list: Vec<Digest>,
    index: HashMap<Digest, usize>,
}

impl Digests {
    fn add(&mut self, digest: &Digest) -> usize {
        let next = self.list.len();
        let index = *self.index.entry(*digest).or_insert(next);
        if index == next {
            self.list.push(*digest);
        }
        index
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for digest in &self.list {
            bytes.extend_from_slice(digest.as_bytes());
        }
        bytes
    }
}

/// A stream that is being written.
pub struct Writer {
    algorithm: Algorithm,
    content_type: ContentType,
    named: Digests,
    names: BTreeMap<String, usize>,
    objects: Digests,
    inline: Vec<u8>,
    content: zstd::stream::write::Encoder<'static, Temporary>,
    size: u64,
}

impl Writer {
    /// One that is empty.
    ///
    /// # Errors
    /// If there is no memory.
    pub fn new(algorithm: Algorithm, content_type: ContentType) -> Result<Self> {
        let file = Temporary::new(MEMORY_MAX);
        Ok(Self {
            algorithm,
            content_type,
            named: Digests::default(),
            names: BTreeMap::new(),
            objects: Digests::default(),
            inline: Vec::new(),
            content: zstd::stream::write::Encoder::new(file, LEVEL)?,
            size: 0,
        })
    }

    /// Adds bytes.
    ///
    /// # Errors
    /// If they cannot be kept.
    pub fn inline(&mut self, data: &[u8]) -> Result<()> {
        self.inline.extend_from_slice(data);
        self.size = self.size.saturating_add(data.len() as u64);
        if self.inline.len() >= CHUNK_MAX {
            self.flush()?;
        }
        Ok(())
    }

    /// Adds the content of an object, of `size` bytes.
    ///
    /// # Errors
    /// If it cannot be kept.
    pub fn external(&mut self, object: &Digest, size: u64) -> Result<()> {
        self.flush()?;
        let index = self.objects.add(object) as u64;
        self.content.write_all(&index.to_le_bytes())?;
        self.size = self.size.saturating_add(size);
        Ok(())
    }

    /// Says that the stream is nothing without an object, which need not be part of it.
    pub fn needs(&mut self, object: &Digest) {
        self.objects.add(object);
    }

    /// Refers to another stream or to an image, by a name.
    pub fn refer(&mut self, name: &str, to: &Digest) {
        let index = self.named.add(to);
        self.names.insert(name.to_owned(), index);
    }

    /// Makes an object of it.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn finish(mut self, objects: &mut Unnamed) -> Result<Digest> {
        self.flush()?;
        let names = self.compress_names()?;
        let (named, parts) = (self.named.bytes(), self.objects.bytes());
        let mut content = self.content.finish().context("cannot compress a stream")?;
        let content_size = content.seek(io::SeekFrom::End(0))?;
        content.rewind()?;

        let mut head = vec![0; HEADER_SIZE + INFO_SIZE];
        let mut put = |at: usize, data: &[u8]| {
            if let Some(place) = head.get_mut(at..at + data.len()) {
                place.copy_from_slice(data);
            }
        };
        put(HEADER.magic, MAGIC);
        put(HEADER.version, &[VERSION]);
        put(HEADER.algorithm, &[self.algorithm.id()]);
        put(HEADER.block_bits, &[BLOCK_BITS]);
        let mut end = HEADER_SIZE as u64;
        let mut range = |at: usize, size: u64| {
            let start = end;
            end += size;
            put(at, &start.to_le_bytes());
            put(at + size_of::<u64>(), &end.to_le_bytes());
        };
        range(HEADER.info, INFO_SIZE as u64);
        range(HEADER_SIZE + info::NAMED, named.len() as u64);
        range(HEADER_SIZE + info::OBJECTS, parts.len() as u64);
        range(HEADER_SIZE + info::NAMES, names.len() as u64);
        range(HEADER_SIZE + info::CONTENT, content_size);
        put(HEADER_SIZE + info::TYPE, &self.content_type.0);
        put(HEADER_SIZE + info::SIZE, &self.size.to_le_bytes());

        let start = [head, named, parts, names].concat();
        objects.put_stream(&mut start.chain(content), end)
    }

    /// Writes what was collected as one chunk.
    fn flush(&mut self) -> Result<()> {
        if self.inline.is_empty() {
            return Ok(());
        }
        let len = self.inline.len() as i64;
        self.content.write_all(&(-len).to_le_bytes())?;
        self.content.write_all(&self.inline)?;
        self.inline.clear();
        Ok(())
    }

    fn compress_names(&self) -> Result<Vec<u8>> {
        let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), LEVEL)?;
        for (name, index) in &self.names {
            encoder.write_all(format!("{index}:{name}\0").as_bytes())?;
        }
        Ok(encoder.finish()?)
    }
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writer")
            .field("size", &self.size)
            .finish_non_exhaustive()
    }
}
