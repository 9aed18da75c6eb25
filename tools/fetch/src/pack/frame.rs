// SPDX-License-Identifier: GPL-2.0-only
//! What is in a frame.

use std::io::{self, BufReader, Read, Take};

use zstd::stream::read::Decoder;

/// The window of the compression, as a power of two, is no larger: this much memory is taken to
/// read a frame.
pub const WINDOW_LOG_MAX: u32 = 23;

/// The objects of a frame, one after another.
pub struct Frame<'a, R> {
    content: Decoder<'static, BufReader<Take<&'a mut R>>>,
    at: u64,
}

impl<'a, R: Read> Frame<'a, R> {
    /// The frame that the next `len` bytes of a pack are.
    ///
    /// # Errors
    /// If there is no memory for it.
    pub fn new(pack: &'a mut R, len: u64) -> io::Result<Self> {
        let mut content = Decoder::with_buffer(BufReader::new(pack.take(len)))?;
        content.window_log_max(WINDOW_LOG_MAX)?;
        Ok(Self { content, at: 0 })
    }

    /// Passes over what is before this byte. What is behind it already stays so.
    ///
    /// # Errors
    /// If the frame is damaged, or ends before.
    pub fn skip_to(&mut self, to: u64) -> io::Result<()> {
        let missing = to.saturating_sub(self.at);
        let skipped = io::copy(&mut self.by_ref().take(missing), &mut io::sink())?;
        match skipped == missing {
            true => Ok(()),
            false => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    /// Passes over the rest of its bytes in the pack.
    ///
    /// # Errors
    /// If the pack ends before.
    pub fn finish(self) -> io::Result<()> {
        let mut rest = self.content.finish().into_inner();
        io::copy(&mut rest, &mut io::sink())?;
        match rest.limit() {
            0 => Ok(()),
            _ => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

impl<R: Read> Read for Frame<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.content.read(buffer)?;
        self.at = self.at.saturating_add(count as u64);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use zstd::stream::write::Encoder;

    fn frame(window_log: u32) -> Vec<u8> {
        let mut encoder = Encoder::new(Vec::new(), 1).expect("encoder");
        encoder.window_log(window_log).expect("window");
        for part in 0..200_u8 {
            encoder.write_all(&[part; 1 << 16]).expect("memory");
        }
        encoder.finish().expect("memory")
    }

    #[test]
    fn a_part_of_it_and_then_the_next() {
        let frame = frame(WINDOW_LOG_MAX);
        let pack = [&frame[..], b"next"].concat();
        let mut rest = pack.as_slice();
        let mut content = Frame::new(&mut rest, frame.len() as u64).expect("frame");
        content.skip_to(3 << 16).expect("skipped");
        let mut byte = [0];
        content.read_exact(&mut byte).expect("byte");
        assert_eq!(byte, [3]);
        content.skip_to(0).expect("nothing to skip");
        content.finish().expect("rest");
        assert_eq!(rest, b"next");
    }

    #[test]
    fn what_ends_too_early() {
        let frame = frame(WINDOW_LOG_MAX);
        let mut rest = frame.as_slice();
        let mut content = Frame::new(&mut rest, frame.len() as u64).expect("frame");
        content.skip_to(1 << 40).expect_err("after its end");
        let mut rest = frame.as_slice();
        let content = Frame::new(&mut rest, frame.len() as u64 + 1).expect("frame");
        content.finish().expect_err("the pack is shorter");
    }

    /// It would take as much memory in each of many threads.
    #[test]
    fn a_large_window() {
        let frame = frame(WINDOW_LOG_MAX + 1);
        let mut rest = frame.as_slice();
        let mut content = Frame::new(&mut rest, frame.len() as u64).expect("frame");
        content.skip_to(1).expect_err("too large");
    }
}
