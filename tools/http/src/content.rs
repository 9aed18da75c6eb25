// SPDX-License-Identifier: GPL-2.0-only
//! What is sent to a server: it may have to be sent again, so it is read by position.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

/// Content. A copy is the same content, not a second one.
#[derive(Clone, Debug)]
pub enum Content {
    /// What is in memory.
    Bytes(Arc<[u8]>),
    /// A file, and how many bytes of it.
    File(Arc<File>, u64),
}

impl Content {
    /// What is in memory.
    pub fn bytes(bytes: &[u8]) -> Self {
        Self::Bytes(bytes.into())
    }

    /// Its size in bytes.
    pub fn size(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::File(_, size) => *size,
        }
    }

    /// Reads it from the beginning, whoever else reads it.
    pub fn reader(&self) -> ContentReader {
        ContentReader {
            content: self.clone(),
            at: 0,
        }
    }
}

/// Reads content.
#[derive(Debug)]
pub struct ContentReader {
    content: Content,
    at: u64,
}

impl Read for ContentReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.content.size().saturating_sub(self.at);
        let want = buffer
            .len()
            .min(usize::try_from(left).unwrap_or(usize::MAX));
        let buffer = buffer.get_mut(..want).unwrap_or_default();
        let count = match &self.content {
            Content::Bytes(bytes) => {
                let at = usize::try_from(self.at).unwrap_or(usize::MAX);
                bytes.get(at..).unwrap_or_default().read(buffer)?
            }
            Content::File(file, _) => file.read_at(buffer, self.at)?,
        };
        self.at = self.at.saturating_add(count as u64);
        Ok(count)
    }
}

impl Seek for ContentReader {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let (from, by) = match to {
            SeekFrom::Start(at) => (at, 0),
            SeekFrom::Current(by) => (self.at, by),
            SeekFrom::End(by) => (self.content.size(), by),
        };
        self.at = from
            .checked_add_signed(by)
            .ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_can_be_read_again() {
        let mut file = tempfile::tempfile().expect("file");
        io::Write::write_all(&mut file, b"0123456789").expect("written");
        for content in [Content::bytes(b"0123456"), Content::File(Arc::new(file), 7)] {
            let mut reader = content.reader();
            let mut text = String::new();
            reader.read_to_string(&mut text).expect("text");
            assert_eq!(text, "0123456");
            reader.seek(SeekFrom::Start(5)).expect("sought");
            text.clear();
            reader.read_to_string(&mut text).expect("text");
            assert_eq!(text, "56");
            reader
                .seek(SeekFrom::End(-8))
                .expect_err("before the beginning");
        }
    }
}
