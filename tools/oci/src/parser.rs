// SPDX-License-Identifier: GPL-2.0-only
//! How the parser of archives is fed: within limits, and so that it comes to an end.

use anyhow::{ensure, Result};
use tar_core::parse::{Limits, Parser};
use tar_core::HEADER_SIZE;

/// Most bytes of a header with all that belongs to it: extensions, and where the holes of a file are.
const HEAD_MAX: usize = 2 << 20;
/// From so many bytes on the parser is given twice as many each time: it begins at the start again.
const DOUBLED: usize = 16 << 10;

/// A parser of one archive.
pub(crate) fn parser() -> Parser {
    Parser::new(Limits::default())
}

/// How many bytes the parser is to have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Want {
    /// It is an error if there are fewer.
    pub least: usize,
    /// It may have so many, if there are.
    pub most: usize,
}

impl Want {
    /// At the start of a header.
    pub const HEADER: Self = Self {
        least: HEADER_SIZE,
        most: HEADER_SIZE,
    };

    /// The parser has `have` bytes, and says that it needs `min`: which are more, or should be. It
    /// does not always count what it has.
    ///
    /// # Errors
    /// If it has had enough.
    pub fn more(min: usize, have: usize) -> Result<Self> {
        let least = min.max(have.saturating_add(1));
        ensure!(
            least <= HEAD_MAX,
            "is not a tar archive: a header is of more than {HEAD_MAX} bytes"
        );
        let most = match have < DOUBLED {
            true => least,
            false => least.max(have.saturating_mul(2)).min(HEAD_MAX),
        };
        Ok(Self { least, most })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_gets_more_each_time_and_comes_to_an_end() {
        let mut have = HEADER_SIZE;
        let mut times = 0;
        // One that asks for the same again and again.
        while let Ok(want) = Want::more(2 * HEADER_SIZE, have) {
            assert!(want.least > have && want.least <= want.most);
            have = want.most.max(have + 511);
            times += 1;
        }
        assert!(times < 50 && have == HEAD_MAX, "{times} {have}");
        assert_eq!(
            Want::more(1536, 1024).expect("more"),
            Want {
                least: 1536,
                most: 1536
            }
        );
        Want::more(HEAD_MAX + 1, 512).expect_err("too much");
    }
}
