// SPDX-License-Identifier: GPL-2.0-only
//! What is in a layer, entry by entry, from its stream.

use std::io::Read;

use anyhow::{anyhow, bail, ensure, Context, Result};
use composefs_repository::stream::{Chunk, Reader};
use composefs_tools::fsverity::Digest;
use composefs_tools::quote;
use composefs_tools::tree::{FileType, Meta, Time};
use tar_core::parse::{ParseEvent, ParsedEntry};
use tar_core::{EntryType, PaxExtensions};

use crate::layer::{self, INLINE_MAX};
use crate::parser::{parser, Want};
use crate::sparse;

/// Permissions and the like: what a mode has besides the type.
const PERMISSIONS: u32 = 0o7777;
/// The one attribute that is kept: others tell of the machine that an image was built on.
const CAPABILITY: &[u8] = b"security.capability";
/// Longest target of a symlink.
const TARGET_MAX: usize = 4095;
/// How the fraction of a second is written at its longest.
const DIGITS: usize = 9;

/// Something in a layer.
#[derive(Debug)]
pub struct Entry {
    /// Its path, as the archive has it.
    pub path: Vec<u8>,
    /// What `stat` says.
    pub meta: Meta,
    /// Those of its extended attributes that an image has.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// What it holds.
    pub content: Content,
}

impl Entry {
    /// How many bytes it holds in memory besides its path.
    pub fn size(&self) -> usize {
        let xattrs = self.xattrs.iter();
        let xattrs: usize = xattrs.map(|(name, value)| name.len() + value.len()).sum();
        let content = match &self.content {
            Content::Inline(data) | Content::Target(data) => data.len(),
            Content::None | Content::Object(_) | Content::Link(_) => 0,
        };
        xattrs.saturating_add(content)
    }
}

/// What an entry holds.
#[derive(Clone, Debug)]
pub enum Content {
    /// Nothing.
    None,
    /// A file that is small.
    Inline(Vec<u8>),
    /// A file that is an object.
    Object(Digest),
    /// The target of a symlink.
    Target(Vec<u8>),
    /// The path of what it is another name of.
    Link(Vec<u8>),
}

/// The entries of a layer.
pub struct Entries {
    reader: Reader,
    buffer: Vec<u8>,
    sparse_files: usize,
}

/// What is known of an entry before its content is read.
struct Head {
    entry: Entry,
    /// Of what the archive holds of it.
    size: u64,
    is_file: bool,
    is_sparse: bool,
}

impl Entries {
    /// Those of an open stream.
    pub fn new(reader: Reader) -> Self {
        Self {
            reader,
            buffer: Vec::new(),
            sparse_files: 0,
        }
    }

    /// The next one; `None` at the end.
    ///
    /// # Errors
    /// If it is not one that an image can have, or the stream is damaged.
    pub fn next_entry(&mut self) -> Result<Option<Entry>> {
        let Some(mut head) = self.head()? else {
            return Ok(None);
        };
        let content = self.content(&mut head);
        content.with_context(|| quote::bytes(&head.entry.path).to_string())?;
        Ok(Some(head.entry))
    }

    fn head(&mut self) -> Result<Option<Head>> {
        let mut parser = parser();
        let mut want = Want::HEADER;
        loop {
            if !self.fill(want.least)? {
                return Ok(None);
            }
            self.read_up_to(want.most)?;
            match parser.parse(&self.buffer).context("is damaged")? {
                ParseEvent::NeedData { min_bytes } => {
                    want = Want::more(min_bytes, self.buffer.len())?;
                }
                ParseEvent::GlobalExtensions { consumed, .. } => {
                    self.buffer.drain(..consumed);
                    want = Want::HEADER;
                }
                ParseEvent::End { .. } => return Ok(None),
                ParseEvent::Entry { consumed, entry } => {
                    let head = head(&entry, entry.size, false)?;
                    self.buffer.drain(..consumed);
                    return Ok(Some(head));
                }
                ParseEvent::SparseEntry {
                    consumed,
                    entry,
                    real_size,
                    ..
                } => {
                    let head = head(&entry, real_size, true)?;
                    self.buffer.drain(..consumed);
                    return Ok(Some(head));
                }
            }
        }
    }

    fn content(&mut self, head: &mut Head) -> Result<()> {
        let size = head.size;
        if (head.is_file || head.is_sparse) && size > INLINE_MAX {
            let object = self.object()?;
            if !head.is_sparse {
                head.entry.content = Content::Object(object);
            }
            self.bytes(layer::padding(size))?;
        } else {
            layer::expect_small(size)?;
            let mut data = self.bytes(size + layer::padding(size))?;
            if head.is_file {
                data.truncate(usize::try_from(size)?);
                // What fills up the block is far more, and there may be many.
                data.shrink_to_fit();
                head.entry.content = Content::Inline(data);
            }
        }
        if head.is_sparse {
            let key = sparse::key(self.sparse_files);
            let whole = self.reader.names().get(&key).copied();
            let whole = whole.ok_or_else(|| anyhow!("is damaged: it has no {key}"))?;
            head.entry.content = Content::Object(whole);
            self.sparse_files += 1;
        }
        Ok(())
    }

    /// Sees to it that there are so many bytes. Not, if it has ended before the first of them.
    fn fill(&mut self, want: usize) -> Result<bool> {
        while self.buffer.len() < want {
            if self.read_up_to(want)? > 0 {
                continue;
            }
            match self.reader.next_chunk()? {
                Some(Chunk::Inline(_)) => {}
                Some(Chunk::External(_)) => {
                    bail!("is damaged: it has an object where a header should be")
                }
                None if self.buffer.is_empty() => return Ok(false),
                None => bail!("is damaged: it ends too early"),
            }
        }
        Ok(true)
    }

    /// Reads what the chunk has, until there are so many bytes; how many it were.
    fn read_up_to(&mut self, most: usize) -> Result<usize> {
        let missing = most.saturating_sub(self.buffer.len()) as u64;
        let mut part = self.reader.by_ref().take(missing);
        Ok(part.read_to_end(&mut self.buffer)?)
    }

    fn bytes(&mut self, count: u64) -> Result<Vec<u8>> {
        let count = usize::try_from(count)?;
        if count > 0 {
            ensure!(self.fill(count)?, "is damaged: it ends too early");
        }
        Ok(self.buffer.drain(..count).collect())
    }

    fn object(&mut self) -> Result<Digest> {
        ensure!(
            self.buffer.is_empty(),
            "is damaged: it has bytes where an object should be"
        );
        match self.reader.next_chunk()? {
            Some(Chunk::External(object)) => Ok(object),
            _ => bail!("is damaged: it has no object where one should be"),
        }
    }
}

/// `size` is that of the file, which an archive may hold without its holes.
fn head(entry: &ParsedEntry, size: u64, is_sparse: bool) -> Result<Head> {
    let describe = || {
        let target = || entry.link_target.as_deref().unwrap_or_default().to_vec();
        let (file_type, content) = match entry.entry_type {
            EntryType::Regular | EntryType::Continuous => (FileType::Regular, Content::None),
            EntryType::GnuSparse => (FileType::Regular, Content::None),
            EntryType::Directory => (FileType::Directory, Content::None),
            EntryType::Link => (FileType::Regular, Content::Link(target())),
            EntryType::Symlink => (FileType::Symlink, Content::Target(symlink(target())?)),
            EntryType::Block => (FileType::BlockDevice, Content::None),
            EntryType::Char => (FileType::CharDevice, Content::None),
            EntryType::Fifo => (FileType::Fifo, Content::None),
            other => bail!("is {other:?}, which a file system does not have"),
        };
        let mut meta = Meta::new(file_type, (entry.mode & PERMISSIONS) as u16);
        // As they are in tools that know only of 32 bits.
        meta.uid = entry.uid as u32;
        meta.gid = entry.gid as u32;
        meta.mtime = Time {
            sec: entry.mtime as i64,
            nsec: entry.pax.map_or(0, nanoseconds),
        };
        if matches!(file_type, FileType::BlockDevice | FileType::CharDevice) {
            let numbers = entry.dev_major.zip(entry.dev_minor);
            let rdev = numbers.and_then(|(major, minor)| device(major, minor));
            meta.rdev = rdev.ok_or_else(|| anyhow!("is a device without a number"))?;
        }
        if file_type == FileType::Regular {
            meta.size = size;
        }
        Ok((meta, content))
    };
    let (meta, content) = describe().with_context(|| quote::bytes(&entry.path).to_string())?;
    let xattrs = entry.xattrs.iter();
    let xattrs = xattrs.filter(|(name, _)| &**name == CAPABILITY);
    Ok(Head {
        size: entry.size,
        is_file: entry.entry_type.is_file(),
        is_sparse,
        entry: Entry {
            path: entry.path.to_vec(),
            meta,
            xattrs: xattrs
                .map(|(name, value)| (name.to_vec(), value.to_vec()))
                .collect(),
            content,
        },
    })
}

fn symlink(target: Vec<u8>) -> Result<Vec<u8>> {
    ensure!(
        (1..=TARGET_MAX).contains(&target.len()),
        "is a symlink to {} bytes",
        target.len()
    );
    Ok(target)
}

/// The number of a device as the kernel has it in 32 bits.
fn device(major: u32, minor: u32) -> Option<u32> {
    if major > 0xfff || minor > 0xf_ffff {
        return None;
    }
    Some(minor & 0xff | major << 8 | (minor & !0xff) << 12)
}

/// The fraction of a second in a time of modification.
fn nanoseconds(extensions: &[u8]) -> u32 {
    let mut extensions = PaxExtensions::new(extensions).flatten();
    let mtime = extensions.find(|extension| extension.key_bytes() == b"mtime");
    let fraction = || {
        let text = mtime?.value().ok()?.split_once('.')?.1;
        let digits = text.get(..text.len().min(DIGITS))?;
        let number: u32 = digits.parse().ok()?;
        let missing = u32::try_from(DIGITS.checked_sub(digits.len())?).ok()?;
        number.checked_mul(10_u32.checked_pow(missing)?)
    };
    fraction().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fractions_of_a_second() {
        for (record, want) in [
            (&b"30 mtime=1234567890.123456789\n"[..], 123_456_789),
            (b"22 mtime=1234567890.5\n", 500_000_000),
            (b"31 mtime=1234567890.1234567899\n", 123_456_789),
            (b"20 mtime=1234567890\n", 0),
            (b"16 path=foo.txt\n", 0),
            (b"", 0),
        ] {
            assert_eq!(
                nanoseconds(record),
                want,
                "{}",
                String::from_utf8_lossy(record)
            );
        }
    }

    #[test]
    fn numbers_of_devices() {
        assert_eq!(device(1, 3), Some(0x103));
        assert_eq!(device(0xfff, 0xf_ffff), Some(0xffff_ffff));
        assert_eq!(device(259, 0x12345), Some(0x1231_0345));
        assert_eq!(device(0x1000, 0), None);
        assert_eq!(device(0, 0x10_0000), None);
    }
}
