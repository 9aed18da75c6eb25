// SPDX-License-Identifier: GPL-2.0-only
//! What is kept in memory as long as it is small, and in a file without a name otherwise.

use std::env;
use std::io::{self, Read, Seek, SeekFrom, Write};

use composefs_tools::quote;
use tempfile::SpooledTempFile;

/// Content that is kept for a while.
#[derive(Debug)]
pub struct Temporary(SpooledTempFile);

impl Temporary {
    /// Nothing yet. `memory_max` is the number of bytes that stay in memory.
    pub fn new(memory_max: usize) -> Self {
        Self(SpooledTempFile::new(memory_max))
    }
}

/// Says where there was no space, or whatever it was.
fn place<T>(done: io::Result<T>) -> io::Result<T> {
    done.map_err(|error| {
        let dir = env::temp_dir();
        let text = format!("temporary file in {}: {error}", quote::path(&dir));
        io::Error::new(error.kind(), text)
    })
}

impl Read for Temporary {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        place(self.0.read(buffer))
    }
}

impl Write for Temporary {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        place(self.0.write(data))
    }

    fn flush(&mut self) -> io::Result<()> {
        place(self.0.flush())
    }
}

impl Seek for Temporary {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        place(self.0.seek(to))
    }
}
