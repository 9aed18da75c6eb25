// SPDX-License-Identifier: GPL-2.0-only
//! Reading files.

use std::fs::File;
use std::io::{self, Read};

/// Size of the buffers that files are read with.
pub const BUFFER_SIZE: usize = 256 << 10;

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
