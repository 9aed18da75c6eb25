// SPDX-License-Identifier: GPL-2.0-only
//! Small files about what a repository has, in directories of this project: composefs-rs leaves
//! alone what it does not know there.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsFd;

use anyhow::{Context, Result};
use composefs_tools::staged::Staged;
use rustix::fs::{Mode, OFlags};

use crate::links::check_names;
use crate::repository::Repository;

/// A directory of notes.
pub(crate) struct Notes {
    /// Its name in the repository.
    pub dir: &'static str,
    /// Bytes of a note at most.
    pub max: usize,
}

impl Notes {
    /// Writes one, in place of what is noted under this name.
    ///
    /// # Errors
    /// If the name is none, or it cannot be written.
    pub fn write(&self, repository: &Repository, name: &str, note: &[u8]) -> Result<()> {
        check_names(name, [name])?;
        if self.read(repository, name).as_deref() == Some(note) {
            return Ok(());
        }
        let write = || {
            let dir = repository.descend(self.dir, true)?;
            let staged = Staged::new(dir.as_fd(), Mode::from_raw_mode(0o644))?;
            let mut file = File::from(rustix::io::fcntl_dupfd_cloexec(staged.file(), 0)?);
            file.write_all(note)?;
            file.sync_all()?;
            staged.replace(dir.as_fd(), OsStr::new(name))?;
            anyhow::Ok(())
        };
        write().with_context(|| format!("cannot write {}", repository.quote(&self.path(name))))
    }

    /// What is noted under this name; `None` if nothing is that can be read.
    pub fn read(&self, repository: &Repository, name: &str) -> Option<Vec<u8>> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let path = self.path(name);
        let file = rustix::fs::openat(repository.dir(), path, flags, Mode::empty()).ok()?;
        let mut note = Vec::new();
        let mut file = File::from(file).take(self.max as u64 + 1);
        file.read_to_end(&mut note).ok()?;
        (note.len() <= self.max).then_some(note)
    }

    /// The paths of all but those under these names.
    ///
    /// # Errors
    /// If the directory cannot be read.
    pub fn others(&self, repository: &Repository, names: &HashSet<String>) -> Result<Vec<String>> {
        let all = repository.entries(self.dir)?.into_iter();
        let others = all.filter(|name| !names.contains(name));
        Ok(others.map(|name| self.path(&name)).collect())
    }

    pub fn path(&self, name: &str) -> String {
        format!("{}/{name}", self.dir)
    }
}
