// SPDX-License-Identifier: GPL-2.0-only
//! Where streams came from, so that what gets damaged can be fetched from there again.
//!
//! A file `origins/STREAM` for each, of one line. It is of this project: composefs-rs leaves alone
//! what it does not know in the directory of a repository.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsFd;

use anyhow::{bail, Context, Result};
use composefs_tools::staged::Staged;
use rustix::fs::{Mode, OFlags};

use crate::links::check_names;
use crate::repository::Repository;

/// The directory.
const DIR: &str = "origins";
/// Longest line.
const LINE_MAX: u64 = 64 << 10;

impl Repository {
    /// Notes where the stream of this name came from, in a line that means something to whoever
    /// fetched it.
    ///
    /// # Errors
    /// If it is not one line, or cannot be written.
    pub fn set_origin(&self, stream: &str, origin: &str) -> Result<()> {
        check_names(stream, [stream])?;
        if self.origin(stream).as_deref() == Some(origin) {
            return Ok(());
        }
        let write = || {
            if origin.len() as u64 >= LINE_MAX || origin.contains('\n') {
                bail!("is not one line");
            }
            let dir = self.descend(DIR, true)?;
            let staged = Staged::new(dir.as_fd(), Mode::from_raw_mode(0o644))?;
            let mut file = File::from(rustix::io::fcntl_dupfd_cloexec(staged.file(), 0)?);
            writeln!(file, "{origin}")?;
            file.sync_all()?;
            staged.replace(dir.as_fd(), OsStr::new(stream))?;
            anyhow::Ok(())
        };
        write().with_context(|| format!("cannot write {}", self.quote(&path(stream))))
    }

    /// Where the stream of this name came from, if that is known.
    pub fn origin(&self, stream: &str) -> Option<String> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = rustix::fs::openat(self.dir(), path(stream), flags, Mode::empty()).ok()?;
        let mut text = String::new();
        File::from(file)
            .take(LINE_MAX)
            .read_to_string(&mut text)
            .ok()?;
        let line = text.strip_suffix('\n')?;
        (!line.is_empty() && !line.contains('\n')).then(|| line.to_owned())
    }

    /// The paths of the notes of all streams but these.
    pub(crate) fn other_origins(&self, streams: &HashSet<String>) -> Result<Vec<String>> {
        let names = self.entries(DIR)?.into_iter();
        let others = names.filter(|name| !streams.contains(name));
        Ok(others.map(|name| path(&name)).collect())
    }
}

fn path(stream: &str) -> String {
    format!("{DIR}/{stream}")
}
