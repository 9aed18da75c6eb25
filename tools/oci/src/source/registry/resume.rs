// SPDX-License-Identifier: GPL-2.0-only
//! A blob whose transfer goes on where it broke off.

use std::io::{self, Read};

use anyhow::{anyhow, Result};
use composefs_http::retry::Patience;
use composefs_tools::pipe::Pipe;

/// How often it may break off, however much comes each time.
const BREAKS_MAX: u32 = 50;

/// Reads a blob.
pub struct Resuming<'a, F> {
    part: Pipe,
    at: u64,
    size: u64,
    patience: &'a Patience,
    breaks: u32,
    /// Gets it from a byte on.
    again: F,
}

impl<'a, F: Fn(u64) -> Result<Pipe>> Resuming<'a, F> {
    /// `first` is it from the start.
    pub fn new(first: Pipe, size: u64, patience: &'a Patience, again: F) -> Self {
        Self {
            part: first,
            at: 0,
            size,
            patience,
            breaks: 0,
            again,
        }
    }

    fn resume(&mut self, mut error: anyhow::Error, buffer: &mut [u8]) -> Result<usize> {
        self.breaks += 1;
        if self.breaks > BREAKS_MAX {
            return Err(error);
        }
        let mut attempts = self.patience.attempts();
        loop {
            attempts.wait(error, None)?;
            self.part = (self.again)(self.at)?;
            error = match self.part.read(buffer) {
                Ok(0) => ended(),
                Ok(count) => return Ok(count),
                Err(error) => error.into(),
            };
        }
    }
}

impl<F: Fn(u64) -> Result<Pipe>> Read for Resuming<'_, F> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        let count = match self.part.read(buffer) {
            Ok(0) if self.at < self.size => self.resume(ended(), buffer),
            Err(error) if self.at < self.size => self.resume(error.into(), buffer),
            read => read.map_err(Into::into),
        };
        let count = count.map_err(|error| io::Error::other(format!("{error:#}")))?;
        self.at = self.at.saturating_add(count as u64);
        Ok(count)
    }
}

fn ended() -> anyhow::Error {
    anyhow!("the server ends the transfer too early")
}
