// SPDX-License-Identifier: GPL-2.0-only
//! Reading files to hash them.

use std::fs::File;
use std::io::{self, Read};

use anyhow::Result;

use crate::copy::BUFFER_SIZE;
use crate::fsverity::{Digest, Hasher};

/// Reads once, whatever signals come.
///
/// # Errors
/// As of `read`.
pub fn read(mut file: &File, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match file.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

/// The digest of a file, from where it is positioned to its end.
///
/// # Errors
/// As of `read`.
pub fn hash(file: &File, hasher: &mut Hasher) -> Result<Digest> {
    let mut buffer = vec![0; BUFFER_SIZE];
    loop {
        match read(file, &mut buffer)? {
            0 => return Ok(hasher.finish()),
            count => hasher.update(&buffer[..count]),
        }
    }
}
