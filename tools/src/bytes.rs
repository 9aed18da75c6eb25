// SPDX-License-Identifier: GPL-2.0-only
//! One growing byte string that holds the names, targets and contents of a whole tree.
//!
//! A tree of a million entries has several million short strings. Kept in one allocation and
//! addressed by eight bytes each, they cost what they are long and nothing more.

use std::num::NonZeroU32;

use anyhow::{anyhow, Result};

/// Where a string lies in [`Bytes`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    start: u32,
    len: u32,
}

impl Span {
    /// Length in bytes.
    pub(crate) fn len(self) -> usize {
        self.len as usize
    }

    /// The same, if it is not empty; an `Option` of that takes no more than it does.
    pub fn non_empty(self) -> Option<NonEmpty> {
        let Self { start, len } = self;
        let len = NonZeroU32::new(len)?;
        Some(NonEmpty { start, len })
    }

    /// The string without its first `count` bytes (all of it if there are fewer).
    #[must_use]
    pub fn skip(self, count: u32) -> Self {
        let count = count.min(self.len);
        Self {
            start: self.start + count,
            len: self.len - count,
        }
    }
}

/// Where a string lies that is not empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NonEmpty {
    start: u32,
    len: NonZeroU32,
}

impl From<NonEmpty> for Span {
    fn from(NonEmpty { start, len }: NonEmpty) -> Self {
        let len = len.get();
        Self { start, len }
    }
}

/// The strings of a tree.
#[derive(Debug, Default)]
pub struct Bytes {
    data: Vec<u8>,
}

impl Bytes {
    /// Stores a copy of the concatenation of `parts`.
    ///
    /// # Errors
    /// The strings of one tree are limited to 4 GiB in sum.
    pub fn push(&mut self, parts: &[&[u8]]) -> Result<Span> {
        let start = self.data.len();
        let len: usize = parts.iter().map(|part| part.len()).sum();
        let end = start + len;
        if u32::try_from(end).is_err() {
            return Err(anyhow!("the tree holds more than 4 GiB of metadata"));
        }
        for part in parts {
            self.data.extend_from_slice(part);
        }
        Ok(Span {
            start: start as u32,
            len: len as u32,
        })
    }

    /// The string at `span`.
    pub fn get(&self, span: Span) -> &[u8] {
        let start = span.start as usize;
        &self.data[start..start + span.len as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_of_some_size_are_found_again() {
        let mut bytes = Bytes::default();
        let parts = [[b'a'; 40_000], [b'b'; 40_000]];
        let parts = parts.each_ref().map(|part| &part[..]);
        let spans = [(); 3].map(|()| bytes.push(&parts).expect("store a string"));
        for span in spans {
            assert_eq!(bytes.get(span), parts.concat());
            assert_eq!(bytes.get(span.skip(1)).len(), span.len() - 1);
        }
    }
}
