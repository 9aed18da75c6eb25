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

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::ErrorKind;

    #[test]
    fn a_file_that_cannot_be_read_is_an_error() {
        let directory = File::open("/").expect("a directory");
        let read = read(&directory, &mut [0]);
        assert_eq!(
            read.map_err(|error| error.kind()),
            Err(ErrorKind::IsADirectory)
        );
    }

    #[test]
    fn streams_fill_buffers_as_far_as_they_go() {
        let mut buffer = [0; 5];
        let (count, result) = up_to(&mut &b"abc"[..], &mut buffer);
        assert!(result.is_ok());
        assert_eq!(buffer[..count], *b"abc");
        let mut stream = &b"abcdefg"[..];
        let (count, result) = up_to(&mut stream, &mut buffer);
        assert!(result.is_ok());
        assert_eq!((&buffer[..count], stream), (&b"abcde"[..], &b"fg"[..]));
    }

    #[test]
    fn a_file_has_to_be_there_whole() {
        let mut buffer = [0; 3];
        of_file(&mut &b"abcd"[..], &mut buffer).expect("enough");
        assert_eq!(buffer, *b"abc");
        let cause = |stream: &mut dyn Read| {
            let mut stream = stream;
            of_file(&mut stream, &mut [0; 3]).map_err(|error| error.to_string())
        };
        assert_eq!(cause(&mut &b"ab"[..]), Err("ends within a file".into()));
        let directory = File::open("/").expect("a directory");
        let other = cause(&mut &directory).expect_err("a directory is no stream");
        assert!(other.starts_with("Is a directory"), "{other}");
    }
}
