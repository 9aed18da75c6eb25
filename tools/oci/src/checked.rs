// SPDX-License-Identifier: GPL-2.0-only
//! A stream that has to be what was said of it.

use std::io::{self, Read};

use anyhow::{bail, Result};

use crate::digest::{BlobDigest, Hasher};

/// Reads a stream, and counts and hashes what is read.
#[derive(Debug)]
pub struct Checked<R> {
    inner: R,
    hasher: Hasher,
    size: u64,
    /// Where it is an error to go on.
    max: u64,
}

impl<R: Read> Checked<R> {
    /// `max` is the number of bytes that are not too many.
    pub fn new(inner: R, max: u64) -> Self {
        Self {
            inner,
            hasher: Hasher::default(),
            size: 0,
            max,
        }
    }

    /// What was read up to now.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Reads what is left.
    ///
    /// # Errors
    /// If it cannot be read, or is too much.
    pub fn drain(&mut self) -> Result<()> {
        io::copy(self, &mut io::sink())?;
        Ok(())
    }

    /// Reads what is left, and compares.
    ///
    /// # Errors
    /// If it is not what was wanted.
    pub fn expect(mut self, digest: &BlobDigest, size: Option<u64>) -> Result<()> {
        self.drain()?;
        if let Some(size) = size.filter(|&size| size != self.size) {
            bail!("is of {} bytes, not of {size}", self.size);
        }
        let found = self.hasher.finish();
        if found != *digest {
            bail!("is not what it should be: its digest is {found}");
        }
        Ok(())
    }
}

impl<R: Read> Read for Checked<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.hasher.update(buffer.get(..count).unwrap_or_default());
        self.size = self.size.saturating_add(count as u64);
        if self.size > self.max {
            return Err(io::Error::other(format!(
                "is of more than {} bytes",
                self.max
            )));
        }
        Ok(count)
    }
}
