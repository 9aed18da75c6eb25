// SPDX-License-Identifier: GPL-2.0-only
//! Reading files and streams.

use std::fs::File;
use std::io::{self, Read};

use anyhow::{bail, Result};

/// Size of the buffers that files are read with.
pub(crate) const BUFFER_SIZE: usize = 256 << 10;

/// Reads once, whatever signals come.
///
/// # Errors
/// As of `read`.
pub(crate) fn read(mut file: &File, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match file.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

/// Fills a buffer, as far as the stream goes: how many bytes, and whether it failed then.
pub fn up_to(stream: &mut impl Read, buffer: &mut [u8]) -> (usize, io::Result<()>) {
    let mut count = 0;
    while let Some(rest) = buffer.get_mut(count..).filter(|rest| !rest.is_empty()) {
        match stream.read(rest) {
            Ok(0) => break,
            Ok(more) => count += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return (count, Err(error)),
        }
    }
    (count, Ok(()))
}

/// Fills a buffer with what a stream goes on with: a file, or a part of one.
///
/// # Errors
/// If the stream fails, or ends before.
pub fn of_file(stream: &mut impl Read, buffer: &mut [u8]) -> Result<()> {
    match stream.read_exact(buffer) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => bail!("ends within a file"),
        result => Ok(result?),
    }
}
