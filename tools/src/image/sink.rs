// SPDX-License-Identifier: GPL-2.0-only
//! Where the bytes of an image go: a file, a digest, or both.

use std::io::Write;

use anyhow::{Context, Result};

use crate::fsverity::{Algorithm, Digest, Hasher};

const BUFFER_SIZE: usize = 128 * 1024;

pub(super) struct Sink<'a> {
    buffer: Vec<u8>,
    /// Bytes that have left the buffer.
    flushed: u64,
    hasher: Option<Hasher>,
    out: Option<&'a mut dyn Write>,
}

impl<'a> Sink<'a> {
    pub fn new(out: Option<&'a mut dyn Write>, digest: Option<Algorithm>) -> Self {
        Self {
            buffer: Vec::with_capacity(BUFFER_SIZE),
            flushed: 0,
            hasher: digest.map(Hasher::new),
            out,
        }
    }

    /// How far the image has been written.
    pub fn position(&self) -> u64 {
        self.flushed + self.buffer.len() as u64
    }

    pub fn write(&mut self, data: &[u8]) -> Result<()> {
        if self.buffer.len() + data.len() > BUFFER_SIZE {
            self.flush()?;
        }
        self.buffer.extend_from_slice(data);
        Ok(())
    }

    /// Writes `count` zero bytes.
    pub fn pad(&mut self, count: u64) -> Result<()> {
        const ZEROS: [u8; 4096] = [0; 4096];
        let mut count = count as usize;
        while count > 0 {
            let step = count.min(ZEROS.len());
            self.write(&ZEROS[..step])?;
            count -= step;
        }
        Ok(())
    }

    /// Pads with zero bytes up to a multiple of `alignment`.
    pub fn align(&mut self, alignment: u64) -> Result<()> {
        let position = self.position();
        self.pad(position.next_multiple_of(alignment) - position)
    }

    fn flush(&mut self) -> Result<()> {
        if let Some(hasher) = &mut self.hasher {
            hasher.update(&self.buffer);
        }
        if let Some(out) = &mut self.out {
            out.write_all(&self.buffer).context("cannot write image")?;
        }
        self.flushed += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    /// Writes out what is left. Returns the digest, if one was asked for.
    pub fn finish(mut self) -> Result<Option<Digest>> {
        self.flush()?;
        Ok(self.hasher.map(|mut hasher| hasher.finish()))
    }
}
