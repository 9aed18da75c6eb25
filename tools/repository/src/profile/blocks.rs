// SPDX-License-Identifier: GPL-2.0-only
//! Blocks of a file.

use std::fmt;
use std::ops::Range;

use anyhow::{bail, Result};

/// Bytes of a block, whatever the pages of the machine have.
pub const BLOCK_SIZE: u64 = 4096;
/// More than a file can have.
const END: u64 = i64::MAX as u64 / BLOCK_SIZE;

/// Some of a file's blocks, as ranges with gaps between them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Blocks(Vec<Range<u64>>);

impl Blocks {
    /// Those in the text that [`fmt::Display`] writes.
    ///
    /// # Errors
    /// If it is another text.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let mut blocks = Self::default();
        for word in text.split_ascii_whitespace() {
            let (first, last) = word.split_once('-').unwrap_or((word, word));
            let (first, last): (u64, u64) = (first.parse()?, last.parse()?);
            let is_next = blocks.0.last().is_none_or(|before| before.end < first);
            if !is_next || last < first || last >= END {
                bail!("{word} is not a range of blocks here");
            }
            blocks.0.push(first..last + 1);
        }
        Ok(blocks)
    }

    /// Adds a block that lies behind all others.
    pub fn push(&mut self, block: u64) {
        match self.0.last_mut() {
            Some(last) if last.end == block => last.end += 1,
            _ => self.0.push(block..block + 1),
        }
    }

    /// Adds others.
    pub fn merge(&mut self, other: &Self) {
        let mut all: Vec<_> = self.0.drain(..).chain(other.0.iter().cloned()).collect();
        all.sort_unstable_by_key(|range| range.start);
        for range in all {
            match self.0.last_mut() {
                Some(last) if last.end >= range.start => last.end = last.end.max(range.end),
                _ => self.0.push(range),
            }
        }
    }

    /// The bytes that they are.
    pub fn bytes(&self) -> impl Iterator<Item = Range<u64>> + '_ {
        let to_bytes = |blocks: &Range<u64>| blocks.start * BLOCK_SIZE..blocks.end * BLOCK_SIZE;
        self.0.iter().map(to_bytes)
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.0.iter().map(|range| range.end - range.start).sum()
    }
}

impl fmt::Display for Blocks {
    /// With a space before each range.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for range in &self.0 {
            match range.end - range.start {
                1 => write!(f, " {}", range.start)?,
                _ => write!(f, " {}-{}", range.start, range.end - 1)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_are_one_range() -> Result<()> {
        let mut blocks = Blocks::default();
        for block in [0, 1, 2, 5, 9, 10] {
            blocks.push(block);
        }
        assert_eq!(blocks.to_string(), " 0-2 5 9-10");
        assert_eq!(blocks.count(), 6);
        blocks.merge(&Blocks::parse("3-4 8 20")?);
        assert_eq!(blocks.to_string(), " 0-5 8-10 20");
        blocks.merge(&Blocks::parse("1-30")?);
        assert_eq!(blocks.to_string(), " 0-30");
        let bytes: Vec<_> = Blocks::parse("1-2 9")?.bytes().collect();
        assert_eq!(bytes, [4096..12288, 36864..40960]);
        Ok(())
    }

    #[test]
    fn what_is_no_range_is_refused() {
        for text in [
            "x",
            "-1",
            "1-",
            "2-1",
            "0-1 1-2",
            "0-1 2",
            "5 4",
            "0-99999999999999999",
            "+1-x",
        ] {
            assert!(Blocks::parse(text).is_err(), "{text}");
        }
        assert!(Blocks::parse(&format!("0-{}", END - 1)).is_ok());
    }
}
