// SPDX-License-Identifier: GPL-2.0-only
//! Files with holes, which archives hold without those: an image needs them whole.

use std::io::{self, Read, Seek, SeekFrom};

use anyhow::{anyhow, bail, Result};
use composefs_repository::temporary::Temporary;
use composefs_tools::fsverity::Digest;
use composefs_tools::store::Unnamed;
use tar_core::SparseEntry;

use crate::layer::INLINE_MAX;

/// What is kept in memory.
const MEMORY_MAX: usize = 1 << 20;

/// What the stream of a layer refers to such a file by: composefs-rs has none.
pub fn key(number: usize) -> String {
    format!("sparse:{number}")
}

/// What an archive holds of it.
pub enum Packed {
    /// Little enough to stay in the stream.
    Inline(Vec<u8>),
    /// An object.
    Object(Digest),
}

/// A file with holes.
pub struct File {
    map: Vec<SparseEntry>,
    packed: u64,
    size: u64,
}

impl File {
    /// `packed` is its size without the holes.
    ///
    /// # Errors
    /// If that cannot be.
    pub fn new(map: Vec<SparseEntry>, packed: u64, size: u64) -> Result<Self> {
        let mut end = 0_u64;
        let mut sum = 0_u64;
        for part in &map {
            let is_behind = part.offset >= end;
            let next = part.offset.checked_add(part.length);
            end = next
                .filter(|_| is_behind)
                .ok_or_else(|| anyhow!("has a file whose parts overlap"))?;
            sum = sum.saturating_add(part.length);
        }
        if end > size || sum != packed {
            bail!("has a file whose parts are not of its size");
        }
        Ok(Self { map, packed, size })
    }

    /// Makes objects of what `input` goes on with: as it is, and whole.
    ///
    /// # Errors
    /// If it cannot be read or written.
    pub fn put(&self, input: &mut impl Read, objects: &mut Unnamed) -> Result<(Packed, Digest)> {
        let mut spool = Temporary::new(MEMORY_MAX);
        if io::copy(&mut input.take(self.packed), &mut spool)? != self.packed {
            bail!("ends within a file");
        }
        spool.seek(SeekFrom::Start(0))?;
        let packed = match self.packed <= INLINE_MAX {
            true => {
                let mut data = Vec::new();
                spool.read_to_end(&mut data)?;
                Packed::Inline(data)
            }
            false => Packed::Object(objects.put_stream(&mut spool, self.packed)?),
        };
        spool.seek(SeekFrom::Start(0))?;
        let whole = objects.put_stream(&mut Whole::new(self, spool), self.size)?;
        Ok((packed, whole))
    }
}

/// Reads it whole.
struct Whole<'a, R> {
    file: &'a File,
    packed: R,
    at: u64,
    part: usize,
}

impl<'a, R: Read> Whole<'a, R> {
    fn new(file: &'a File, packed: R) -> Self {
        Self {
            file,
            packed,
            at: 0,
            part: 0,
        }
    }
}

impl<R: Read> Read for Whole<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let len = buffer.len() as u64;
        while let Some(part) = self.file.map.get(self.part) {
            let end = part.offset.saturating_add(part.length);
            if self.at >= end {
                self.part += 1;
                continue;
            }
            if self.at < part.offset {
                return Ok(self.zeros(buffer, len.min(part.offset - self.at)));
            }
            let count = self.packed.by_ref().take(end - self.at).read(buffer)?;
            self.at += count as u64;
            return Ok(count);
        }
        Ok(self.zeros(buffer, len.min(self.file.size.saturating_sub(self.at))))
    }
}

impl<R> Whole<'_, R> {
    fn zeros(&mut self, buffer: &mut [u8], count: u64) -> usize {
        let zeros = usize::try_from(count)
            .ok()
            .and_then(|count| buffer.get_mut(..count));
        let zeros = zeros.unwrap_or_default();
        zeros.fill(0);
        self.at += zeros.len() as u64;
        zeros.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(offset: u64, length: u64) -> SparseEntry {
        SparseEntry { offset, length }
    }

    #[test]
    fn holes_are_zeros() {
        let file = File::new(vec![part(2, 3), part(5, 1), part(8, 0)], 4, 10).expect("file");
        let mut whole = Vec::new();
        Whole::new(&file, &b"abcd"[..])
            .read_to_end(&mut whole)
            .expect("read");
        assert_eq!(whole, b"\0\0abcd\0\0\0\0");
    }

    #[test]
    fn parts_that_cannot_be() {
        let refused = |map, packed, size| assert!(File::new(map, packed, size).is_err());
        refused(vec![part(0, 3), part(2, 3)], 6, 10);
        refused(vec![part(u64::MAX, 2)], 2, 10);
        refused(vec![part(0, 3)], 4, 10);
        refused(vec![part(0, 3)], 3, 2);
    }
}
