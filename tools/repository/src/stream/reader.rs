// SPDX-License-Identifier: GPL-2.0-only
//! Reading a stream, which may be anyone's: nothing is believed of it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read, Take};
use std::os::unix::fs::FileExt;

use anyhow::{anyhow, bail, Context, Result};
use composefs_tools::fsverity::{Algorithm, Digest};
use composefs_tools::read;

use super::disk::{
    info, HeaderAt, BLOCK_BITS, CHUNK_HEADER_SIZE, HEADER, HEADER_SIZE, INFO_SIZE, MAGIC,
    OLD_HEADER, VERSION,
};
use super::ContentType;

/// Largest table that is read: two million digests, or names.
const TABLE_MAX: u64 = 128 << 20;

/// What comes next in a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chunk {
    /// So many bytes, to be read from the reader.
    Inline(u64),
    /// The content of an object.
    External(Digest),
}

/// An open stream.
pub struct Reader {
    content_type: ContentType,
    size: u64,
    objects: Vec<Digest>,
    names: BTreeMap<String, Digest>,
    content: zstd::stream::read::Decoder<'static, BufReader<Take<File>>>,
    /// What is left of the chunk.
    left: u64,
}

/// Part of the file.
type Range = (u64, u64);

impl Reader {
    /// Opens the stream in `file`.
    ///
    /// # Errors
    /// If it is none, or damaged.
    pub fn open(file: File, algorithm: Algorithm) -> Result<Self> {
        let mut header = [0; HEADER_SIZE];
        file.read_exact_at(&mut header, 0)
            .context("is not a stream")?;
        let at = layout(&header)?;
        let byte = |at: usize| header.get(at).copied();
        if byte(at.version) != Some(VERSION) {
            bail!("is a stream of a version that this program does not know");
        }
        if byte(at.algorithm) != Some(algorithm.id()) || byte(at.block_bits) != Some(BLOCK_BITS) {
            bail!("is a stream with other digests than the repository's");
        }
        let (start, end) = range(&header, at.info)?;
        if end
            .checked_sub(start)
            .is_none_or(|size| size < INFO_SIZE as u64)
        {
            bail!("is damaged: its header is too short");
        }
        let mut table = [0; INFO_SIZE];
        file.read_exact_at(&mut table, start)
            .context("is damaged")?;
        let named = digests(&file, range(&table, info::NAMED)?, algorithm)?;
        let objects = digests(&file, range(&table, info::OBJECTS)?, algorithm)?;
        let names = names(&file, range(&table, info::NAMES)?, &named)?;
        let (start, end) = range(&table, info::CONTENT)?;
        let mut content_type = [0; 8];
        content_type.copy_from_slice(&number(&table, info::TYPE)?.to_le_bytes());
        Ok(Self {
            content_type: ContentType(content_type),
            size: number(&table, info::SIZE)?,
            objects,
            names,
            content: decoder(file, start, end)?,
            left: 0,
        })
    }

    /// What it is of.
    pub fn content_type(&self) -> ContentType {
        self.content_type
    }

    /// The number of bytes in all, as it says.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The objects that it needs.
    pub fn objects(&self) -> &[Digest] {
        &self.objects
    }

    /// What it refers to by name.
    pub fn names(&self) -> &BTreeMap<String, Digest> {
        &self.names
    }

    /// Goes on to the next chunk; `None` at the end. What is left of the one before is passed over.
    ///
    /// # Errors
    /// If it is damaged.
    pub fn next_chunk(&mut self) -> Result<Option<Chunk>> {
        if self.left > 0 {
            let left = self.left;
            let skipped = io::copy(&mut self.take(left), &mut io::sink())?;
            if skipped != left {
                bail!("is damaged: it ends within a chunk");
            }
        }
        let mut header = [0; CHUNK_HEADER_SIZE];
        let (count, read) = read::up_to(&mut self.content, &mut header);
        read.context("is damaged")?;
        match count {
            0 => return Ok(None),
            CHUNK_HEADER_SIZE => {}
            _ => bail!("is damaged: it ends within a chunk"),
        }
        let value = i64::from_le_bytes(header);
        if value < 0 {
            self.left = value.unsigned_abs();
            return Ok(Some(Chunk::Inline(self.left)));
        }
        let index = usize::try_from(value).ok();
        let object = index.and_then(|index| self.objects.get(index));
        let object = object.ok_or_else(|| anyhow!("is damaged: it has no object {value}"))?;
        Ok(Some(Chunk::External(*object)))
    }
}

impl Read for Reader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.content.by_ref().take(self.left).read(buffer)?;
        self.left = self.left.saturating_sub(count as u64);
        Ok(count)
    }
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader")
            .field("size", &self.size)
            .finish_non_exhaustive()
    }
}

fn layout(header: &[u8]) -> Result<HeaderAt> {
    let has_magic = |at: &HeaderAt| {
        header
            .get(at.magic..)
            .is_some_and(|rest| rest.starts_with(MAGIC))
    };
    [HEADER, OLD_HEADER]
        .into_iter()
        .find(has_magic)
        .ok_or_else(|| anyhow!("is not a stream"))
}

fn number(table: &[u8], at: usize) -> Result<u64> {
    let bytes = table.get(at..at.saturating_add(size_of::<u64>()));
    let bytes = bytes.and_then(|bytes| bytes.try_into().ok());
    bytes
        .map(u64::from_le_bytes)
        .ok_or_else(|| anyhow!("is damaged"))
}

fn range(table: &[u8], at: usize) -> Result<Range> {
    let (start, end) = (number(table, at)?, number(table, at + size_of::<u64>())?);
    match start <= end {
        true => Ok((start, end)),
        false => bail!("is damaged: a part of it ends before it starts"),
    }
}

/// The bytes of a table; never more than the file has, whatever the range says.
fn bytes(file: &File, (start, end): Range) -> Result<Vec<u8>> {
    let size = end - start;
    if size > TABLE_MAX {
        bail!("has a table of {size} bytes, more than {TABLE_MAX}");
    }
    if end > file.metadata()?.len() {
        bail!("is damaged: it is too short");
    }
    let mut bytes = vec![0; usize::try_from(size)?];
    file.read_exact_at(&mut bytes, start)
        .context("is damaged")?;
    Ok(bytes)
}

fn digests(file: &File, range: Range, algorithm: Algorithm) -> Result<Vec<Digest>> {
    let bytes = bytes(file, range)?;
    let size = algorithm.digest_size();
    if bytes.len() % size != 0 {
        bail!("is damaged: a table of digests is not of their size");
    }
    let digests = bytes.chunks_exact(size);
    let digests = digests.map(|digest| Digest::from_bytes(algorithm, digest));
    digests
        .collect::<Option<_>>()
        .ok_or_else(|| anyhow!("is damaged"))
}

fn names(file: &File, range: Range, named: &[Digest]) -> Result<BTreeMap<String, Digest>> {
    let compressed = bytes(file, range)?;
    let decoder = zstd::stream::read::Decoder::new(compressed.as_slice())?;
    let mut text = Vec::new();
    let read = decoder.take(TABLE_MAX + 1).read_to_end(&mut text);
    if read.context("is damaged")? as u64 > TABLE_MAX {
        bail!("has names of more than {TABLE_MAX} bytes");
    }
    let text = String::from_utf8(text).context("has a name that is not text")?;
    let records = text.split_terminator('\0');
    let parse = |record: &str| {
        let (index, name) = record.split_once(':')?;
        let digest = named.get(index.parse::<usize>().ok()?)?;
        Some((name.to_owned(), *digest))
    };
    let names = records.map(parse).collect::<Option<_>>();
    names
        .filter(|_| text.is_empty() || text.ends_with('\0'))
        .ok_or_else(|| anyhow!("is damaged: a name in it is not well-formed"))
}

fn decoder(
    mut file: File,
    start: u64,
    end: u64,
) -> Result<zstd::stream::read::Decoder<'static, BufReader<Take<File>>>> {
    io::Seek::seek(&mut file, io::SeekFrom::Start(start))?;
    let part = BufReader::new(file.take(end - start));
    Ok(zstd::stream::read::Decoder::with_buffer(part)?)
}
