// SPDX-License-Identifier: GPL-2.0-only
//! Where streams came from, so that what gets damaged can be fetched from there again: a line for each.

use anyhow::{bail, Context, Result};

use crate::notes::Notes;
use crate::repository::Repository;

/// By the names of streams.
pub(crate) const ORIGINS: Notes = Notes {
    dir: "origins",
    max: 64 << 10,
};

impl Repository {
    /// Notes where the stream of this name came from, in a line that means something to whoever
    /// fetched it.
    ///
    /// # Errors
    /// If it is not one line, or cannot be written.
    pub fn set_origin(&self, stream: &str, origin: &str) -> Result<()> {
        let expect_line = || match origin.len() >= ORIGINS.max || origin.contains('\n') {
            true => bail!("is not one line"),
            false => Ok(()),
        };
        expect_line()
            .with_context(|| format!("cannot write {}", self.quote(&ORIGINS.path(stream))))?;
        ORIGINS.write(self, stream, format!("{origin}\n").as_bytes())
    }

    /// Where the stream of this name came from, if that is known.
    pub fn origin(&self, stream: &str) -> Option<String> {
        let text = String::from_utf8(ORIGINS.read(self, stream)?).ok()?;
        let line = text.strip_suffix('\n')?;
        (!line.is_empty() && !line.contains('\n')).then(|| line.to_owned())
    }
}
