// SPDX-License-Identifier: GPL-2.0-only
//! Objects in a directory, on this disk or on another's.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::path::Path;

use anyhow::{anyhow, Context, Result};
use composefs_tools::quote;
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;

use super::{Refusal, Source};

/// Where a repository has its objects.
const OBJECTS: &str = "objects";
/// Disks answer several at once sooner than one after another.
const PARALLEL: usize = 4;

/// A directory of objects.
#[derive(Debug)]
pub struct Directory {
    name: String,
    dir: OwnedFd,
}

impl Directory {
    /// That at `path`, or in the repository there.
    pub fn open(name: &str, path: &Path) -> Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let open = |path: &Path| rustix::fs::open(path, flags, Mode::empty());
        let dir = match path.join("meta.json").exists() {
            true => open(&path.join(OBJECTS)),
            false => open(path),
        };
        Ok(Self {
            name: name.to_owned(),
            dir: dir.with_context(|| quote::path(path).to_string())?,
        })
    }
}

impl Source for Directory {
    fn name(&self) -> &str {
        &self.name
    }

    fn parallel(&self) -> usize {
        PARALLEL
    }

    fn open(&self, path: &str, part: Option<Range<u64>>) -> Result<Box<dyn Read>, Refusal> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let broken = |error: anyhow::Error| Refusal::Broken(error.context(path.to_owned()));
        let mut file = match rustix::fs::openat(&self.dir, path, flags, Mode::empty()) {
            Ok(file) => File::from(file),
            Err(Errno::NOENT) => return Err(Refusal::Absent),
            Err(error) => return Err(broken(error.into())),
        };
        let stat = rustix::fs::fstat(&file).map_err(|error| broken(error.into()))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(broken(anyhow!("is not a regular file")));
        }
        let Some(part) = part else {
            return Ok(Box::new(file));
        };
        file.seek(SeekFrom::Start(part.start))
            .map_err(|error| broken(error.into()))?;
        Ok(Box::new(file.take(part.end.saturating_sub(part.start))))
    }
}
