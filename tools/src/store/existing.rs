// SPDX-License-Identifier: GPL-2.0-only
//! Objects that are in a store already, and may be taken for what their names say.

use std::fs::File;

use anyhow::{anyhow, Result};
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;

use super::{Store, Target};
use crate::fsverity::Digest;
use crate::measure;
use crate::read::{read, BUFFER_SIZE};
use crate::verity::{self, Enabled};

/// What is known of an object besides its digest.
#[derive(Clone, Copy)]
pub(super) enum Known<'a> {
    /// All of it.
    Content(&'a [u8]),
    /// How many bytes it has.
    Size(u64),
}

impl Known<'_> {
    fn size(self) -> u64 {
        match self {
            Self::Content(content) => content.len() as u64,
            Self::Size(size) => size,
        }
    }
}

impl Store {
    /// Whether the object is in the store. One that is there must be what its name says, unless it
    /// is to be replaced.
    pub(super) fn check_existing(&self, digest: &Digest, known: Known) -> Result<bool> {
        if self.is_damaged(digest) {
            return Ok(false);
        }
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let open = || {
            let Target { dir, name } = self.place(digest)?;
            rustix::fs::openat(&dir, &name, flags, Mode::empty())
        };
        let file = match open() {
            Ok(file) => File::from(file),
            Err(Errno::NOENT) => return Ok(false),
            Err(Errno::LOOP) => return Err(anyhow!("is a symbolic link")),
            Err(error) => return Err(error.into()),
        };
        let stat = rustix::fs::fstat(&file)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(anyhow!("is not a regular file"));
        }
        let size = known.size();
        if u64::try_from(stat.st_size) != Ok(size) {
            let found = stat.st_size;
            return Err(anyhow!("is damaged: its size is {found}, not {size}"));
        }
        let measured = verity::measure(&file, self.algorithm)?;
        let found = match (measured, known) {
            (Some(found), _) => found,
            // To compare costs a third of what it costs to hash.
            (None, Known::Content(content)) if holds(&file, content)? => *digest,
            (None, _) => {
                rustix::fs::seek(&file, rustix::fs::SeekFrom::Start(0))?;
                measure::content(&file, self.algorithm)?
            }
        };
        if found != *digest {
            return Err(anyhow!("is damaged: its digest is {found}"));
        }
        if measured.is_some() {
            return Ok(true);
        }
        // Left by a tool, or on a kernel, that did not. Now that it is known to be right, it may
        // as well have it.
        if let Enabled::No(obstacle) = verity::enable(&file, self.algorithm)? {
            self.lock().no_verity.get_or_insert(obstacle);
        }
        Ok(true)
    }
}

/// Whether a file that is open at its start begins with this.
fn holds(file: &File, mut content: &[u8]) -> Result<bool> {
    let mut buffer = vec![0; content.len().min(BUFFER_SIZE)];
    while !content.is_empty() {
        let count = read(file, &mut buffer)?;
        let found = buffer.get(..count).unwrap_or_default();
        match content.strip_prefix(found) {
            Some(rest) if count > 0 => content = rest,
            _ => return Ok(false),
        }
    }
    Ok(true)
}
