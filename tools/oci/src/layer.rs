// SPDX-License-Identifier: GPL-2.0-only
//! From a layer's archive to a stream and objects.
//!
//! The stream is the archive byte for byte, with objects in place of the files that are not tiny.
//! None of them has a name before all of the blob was read and found to be what the manifest says.

use std::io::{self, BufReader, Read};
use std::thread;

use anyhow::{bail, Context, Result};
use composefs_repository::stream::{ContentType, Writer};
use composefs_repository::Repository;
use composefs_tools::fsverity::Digest;
use composefs_tools::pipe::{pipe, Filler, Pipe};
use composefs_tools::quote;
use composefs_tools::store::Unnamed;
use tar_core::parse::{ParseEvent, ParsedEntry};
use tar_core::HEADER_SIZE;

use crate::checked::{expect_at_most, expect_digest, Checked};
use crate::compression::{self, Compression};
use crate::digest::{BlobDigest, Hasher};
use crate::manifest::Descriptor;
use crate::parser::{parser, Want};
use crate::sparse;
use crate::storing::{self, Small};

/// What the stream of a layer is of.
pub const TYPE: ContentType = ContentType(*b"ocilayer");
/// Files up to this size stay in the stream, and in the image.
pub const INLINE_MAX: u64 = 64;
/// What follows the header of anything but a file: nothing, in archives as they should be.
const REST_MAX: u64 = 1 << 20;
/// What a layer may be at most when decompressed: so much, and so many times its size.
const EXPANDED_MAX: u64 = 16 << 30;
const EXPANSION_MAX: u64 = 100;
/// What is read at a time.
const READ: usize = 64 << 10;

/// Reads the layer `descriptor` from `blob`, and makes a stream of it. What it is when decompressed
/// has the digest `diff_id`, if there is one.
///
/// # Errors
/// If it is not what it is said to be, or cannot be read or written.
pub fn store(
    repository: &Repository,
    descriptor: &Descriptor,
    diff_id: Option<&BlobDigest>,
    blob: impl Read + Send,
) -> Result<Digest> {
    let max = EXPANSION_MAX.saturating_mul(descriptor.size);
    let max = max.saturating_add(EXPANDED_MAX);
    store_up_to(max, repository, descriptor, diff_id, blob)
}

/// The same, for a layer that is of `max` bytes at most when decompressed, as are its files with
/// holes when those are filled.
///
/// # Errors
/// As of [`store()`].
pub fn store_up_to(
    max: u64,
    repository: &Repository,
    descriptor: &Descriptor,
    diff_id: Option<&BlobDigest>,
    blob: impl Read + Send,
) -> Result<Digest> {
    let store = || {
        let mut objects = Unnamed::new(repository.store());
        let mut small_objects = Unnamed::new(repository.store());
        // Each of the five is what one processor is busy with, if the layer is large.
        let (checked, compressed) = pipe();
        let (decompressed, unproven) = pipe();
        let (proven, mut archive) = unproven.continued();
        let (small, stored) = storing::small(repository.algorithm());
        let compression = descriptor.compression()?;
        let digest = thread::scope(|scope| {
            let reading = scope.spawn(move || check(descriptor, blob, &checked));
            scope.spawn(move || decompress(compression, compressed, &decompressed));
            let proving = scope.spawn(move || prove(diff_id, max, unproven, &proven));
            let storing = scope.spawn(|| stored.put_into(&mut small_objects));
            let split = split(&mut archive, max, repository, &mut objects, &small);
            // Who waits for this to be read, or for more, has to know that it will not be.
            drop((archive, small));
            let (Ok(read), Ok(proven)) = (reading.join(), proving.join()) else {
                bail!("cannot be read")
            };
            let Ok(stored) = storing.join() else {
                bail!("cannot be stored")
            };
            // What is wrong with the blob is the cause of what is wrong with what is in it.
            read?;
            proven.context("when decompressed")?;
            stored?;
            split
        })?;
        small_objects.publish()?;
        objects.publish()?;
        repository.expect_protected()?;
        anyhow::Ok(digest)
    };
    store().with_context(|| format!("layer {}", descriptor.digest))
}

/// Reads the blob, hands it on, and looks whether it is what it should be. Until then it does not end.
fn check(descriptor: &Descriptor, blob: impl Read, filler: &Filler) -> Result<()> {
    let mut blob = Checked::new(blob, descriptor.size);
    // The other end gave up: it says why.
    if !filler.fill(&mut blob) && blob.size() != descriptor.size {
        return Ok(());
    }
    let right = blob.expect(&descriptor.digest, descriptor.size);
    if let Err(error) = &right {
        filler.fail(io::Error::other(error.to_string()));
    }
    right
}

/// Hands on what the blob is when decompressed.
fn decompress(compression: Compression, blob: Pipe, filler: &Filler) {
    let mut blob = BufReader::with_capacity(READ, blob);
    let is_whole = match compression::decompress(compression, &mut blob) {
        Ok(mut archive) => filler.fill(&mut archive),
        Err(error) => {
            filler.fail(error);
            false
        }
    };
    if !is_whole {
        return;
    }
    // What follows is a part of the blob, and read as well.
    if let Err(error) = io::copy(&mut blob, &mut io::sink()) {
        filler.fail(error);
    }
}

/// Hands on what is decompressed, and looks whether it is what it should be, if that is known.
fn prove(diff_id: Option<&BlobDigest>, max: u64, archive: Pipe, filler: &Filler) -> Result<()> {
    let mut hasher = Hasher::default();
    let mut size: u64 = 0;
    for part in archive.parts() {
        let part = part.and_then(|part| {
            size = size.saturating_add(part.len() as u64);
            expect_at_most(size, max)?;
            Ok(part)
        });
        match part {
            Ok(part) => {
                hasher.update(&part);
                if !filler.hand_over(part) {
                    return Ok(());
                }
            }
            Err(error) => {
                filler.fail(error);
                return Ok(());
            }
        }
    }
    diff_id.map_or(Ok(()), |diff_id| expect_digest(hasher, diff_id))
}

/// Splits an archive.
fn split(
    archive: &mut impl Read,
    max: u64,
    repository: &Repository,
    objects: &mut Unnamed,
    small: &Small,
) -> Result<Digest> {
    let mut writer = Writer::new(repository.algorithm(), TYPE)?;
    let mut input = Input::new(archive);
    let mut parser = parser();
    let mut want = Want::HEADER;
    let mut sparse_files = 0;
    let mut sparse_bytes = 0_u64;
    loop {
        if !input.fill(want)? {
            break;
        }
        let next = parser
            .parse(&input.buffer)
            .context("is not a tar archive")?;
        let (header, what) = match next {
            ParseEvent::NeedData { min_bytes } => {
                want = Want::more(min_bytes, input.buffer.len())?;
                continue;
            }
            ParseEvent::GlobalExtensions { consumed, .. } => (consumed, Next::Nothing),
            ParseEvent::End { consumed } => {
                writer.inline(input.buffer.get(..consumed).unwrap_or_default())?;
                input.skip(consumed);
                break;
            }
            ParseEvent::Entry { consumed, entry } => (consumed, Next::of(&entry)?),
            ParseEvent::SparseEntry {
                consumed,
                entry,
                sparse_map,
                real_size,
            } => (consumed, Next::Sparse(entry.size, sparse_map, real_size)),
        };
        writer.inline(input.buffer.get(..header).unwrap_or_default())?;
        input.skip(header);
        let padding = match what {
            Next::Nothing => 0,
            Next::Inline(size) => {
                let padded = size.next_multiple_of(HEADER_SIZE as u64);
                input.copy(padded, &mut writer)?;
                0
            }
            Next::File(size) => {
                let object = match size <= storing::SIZE_MAX {
                    true => small.put(&mut input, size)?,
                    false => objects.put_stream(&mut input, size)?,
                };
                writer.external(&object, size)?;
                padding(size)
            }
            Next::Sparse(size, map, real_size) => {
                sparse_bytes = sparse_bytes.saturating_add(real_size);
                if sparse_bytes > max {
                    bail!("has files with holes of more than {max} bytes");
                }
                let file = sparse::File::new(map, size, real_size)?;
                let (packed, whole) = file.put(&mut input, objects)?;
                match packed {
                    sparse::Packed::Inline(data) => writer.inline(&data)?,
                    sparse::Packed::Object(object) => writer.external(&object, size)?,
                }
                writer.refer(&sparse::key(sparse_files), &whole);
                writer.needs(&whole);
                sparse_files += 1;
                padding(size)
            }
        };
        input.copy(padding, &mut writer)?;
        want = Want::HEADER;
    }
    // Archives are filled up to a whole record.
    input.copy_up_to(u64::MAX, &mut writer)?;
    writer.finish(objects)
}

/// What follows a header.
enum Next {
    Nothing,
    /// So many bytes, which stay in the stream.
    Inline(u64),
    /// A file of so many bytes, which becomes an object.
    File(u64),
    /// A file with holes: what it is without them, where that belongs, and its size.
    Sparse(u64, Vec<tar_core::SparseEntry>, u64),
}

impl Next {
    fn of(entry: &ParsedEntry) -> Result<Self> {
        let size = entry.size;
        if entry.entry_type.is_file() && size > INLINE_MAX {
            return Ok(Self::File(size));
        }
        expect_small(size).with_context(|| quote::bytes(&entry.path).to_string())?;
        Ok(Self::Inline(size))
    }
}

/// Refuses much content where it stays in the stream, here and when that is read.
pub(crate) fn expect_small(size: u64) -> Result<()> {
    if size > REST_MAX {
        bail!("has {size} bytes, though it is not a file");
    }
    Ok(())
}

/// What fills up a file to whole blocks.
pub(crate) fn padding(size: u64) -> u64 {
    size.wrapping_neg() % HEADER_SIZE as u64
}

/// An archive that is read in parts.
struct Input<'a, R> {
    archive: &'a mut R,
    buffer: Vec<u8>,
}

impl<'a, R: Read> Input<'a, R> {
    fn new(archive: &'a mut R) -> Self {
        Self {
            archive,
            buffer: Vec::with_capacity(READ),
        }
    }

    /// Sees to it that there are so many bytes. Not, if it has ended before the first of them.
    fn fill(&mut self, want: Want) -> Result<bool> {
        if let Some(missing) = want
            .most
            .checked_sub(self.buffer.len())
            .filter(|&missing| missing > 0)
        {
            self.archive
                .take(missing as u64)
                .read_to_end(&mut self.buffer)?;
        }
        match self.buffer.len() {
            0 => Ok(false),
            len if len < want.least => bail!("is not a tar archive: it ends too early"),
            _ => Ok(true),
        }
    }

    fn skip(&mut self, count: usize) {
        self.buffer.drain(..count.min(self.buffer.len()));
    }

    fn copy(&mut self, count: u64, to: &mut Writer) -> Result<()> {
        if self.copy_up_to(count, to)? != count {
            bail!("is not a tar archive: it ends too early");
        }
        Ok(())
    }

    /// Copies so many bytes, or as many as there are: that is what it gives.
    fn copy_up_to(&mut self, most: u64, to: &mut Writer) -> Result<u64> {
        let mut part = Vec::new();
        let mut done = 0;
        while done < most {
            part.clear();
            let want = (most - done).min(READ as u64);
            let count = self.by_ref().take(want).read_to_end(&mut part)?;
            if count == 0 {
                break;
            }
            to.inline(&part)?;
            done += count as u64;
        }
        Ok(done)
    }
}

impl<R: Read> Read for Input<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.buffer.is_empty() {
            return self.archive.read(buffer);
        }
        let count = self.buffer.as_slice().read(buffer)?;
        self.skip(count);
        Ok(count)
    }
}
