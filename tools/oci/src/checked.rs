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

    /// Reads what is left, and compares.
    ///
    /// # Errors
    /// If it is not what was wanted.
    pub fn expect(mut self, digest: &BlobDigest, size: u64) -> Result<()> {
        io::copy(&mut self, &mut io::sink())?;
        if size != self.size {
            bail!("is of {} bytes, not of {size}", self.size);
        }
        expect_digest(self.hasher, digest)
    }
}

/// Compares what was hashed.
///
/// # Errors
/// If it is something else.
pub fn expect_digest(hasher: Hasher, digest: &BlobDigest) -> Result<()> {
    let found = hasher.finish();
    if found != *digest {
        bail!("is not what it should be: its digest is {found}");
    }
    Ok(())
}

impl<R: Read> Read for Checked<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.hasher.update(buffer.get(..count).unwrap_or_default());
        self.size = self.size.saturating_add(count as u64);
        expect_at_most(self.size, self.max)?;
        Ok(count)
    }
}

/// Whether it is not an error to go on.
///
/// # Errors
/// If more was read than may be.
pub fn expect_at_most(size: u64, max: u64) -> io::Result<()> {
    if size > max {
        return Err(io::Error::other(format!("is of more than {max} bytes")));
    }
    Ok(())
}
