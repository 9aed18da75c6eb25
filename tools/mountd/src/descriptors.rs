// SPDX-License-Identifier: GPL-2.0-only
//! What a caller sends along: files of the kind that they should be, which the caller could read.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{fcntl_getfl, fstat, FileType, OFlags};

use crate::interface::Error;

/// Descriptors, by their places.
pub struct Descriptors(Vec<OwnedFd>);

impl Descriptors {
    pub fn new(all: Vec<OwnedFd>) -> Self {
        Self(all)
    }

    /// A regular file that is open for reading, and for nothing else.
    pub fn file(&self, parameter: &str, at: usize) -> Result<BorrowedFd<'_>, Error> {
        self.readable(parameter, at, FileType::RegularFile, "a regular file")
    }

    /// A directory that is open for reading.
    pub fn directory(&self, parameter: &str, at: usize) -> Result<BorrowedFd<'_>, Error> {
        self.readable(parameter, at, FileType::Directory, "a directory")
    }

    /// Anything.
    pub fn any(&self, parameter: &str, at: usize) -> Result<BorrowedFd<'_>, Error> {
        let fd = self.0.get(at).ok_or_else(|| {
            let reason = format!("{at} is none of the {} descriptors", self.0.len());
            invalid(parameter, reason)
        })?;
        Ok(fd.as_fd())
    }

    fn readable(
        &self,
        parameter: &str,
        at: usize,
        wanted: FileType,
        name: &str,
    ) -> Result<BorrowedFd<'_>, Error> {
        let fd = self.any(parameter, at)?;
        let fault = |error: rustix::io::Errno| invalid(parameter, error.to_string());
        let flags = fcntl_getfl(fd).map_err(fault)?;
        if flags.contains(OFlags::PATH) || flags & OFlags::ACCMODE != OFlags::RDONLY {
            return Err(invalid(parameter, "is not open for reading only".into()));
        }
        let stat = fstat(fd).map_err(fault)?;
        if FileType::from_raw_mode(stat.st_mode) != wanted {
            return Err(invalid(parameter, format!("is not {name}")));
        }
        Ok(fd)
    }
}

fn invalid(parameter: &str, reason: String) -> Error {
    Error::InvalidFile {
        parameter: parameter.into(),
        reason,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{open, Mode};

    #[test]
    fn only_what_could_be_read_is_taken() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        std::fs::write(&file, "").unwrap();
        let open = |path: &std::path::Path, flags| open(path, flags, Mode::empty()).unwrap();
        let all = Descriptors::new(vec![
            open(&file, OFlags::RDONLY),
            open(&file, OFlags::PATH),
            open(&file, OFlags::RDWR),
            open(&file, OFlags::WRONLY),
            open(directory.path(), OFlags::RDONLY),
            open(directory.path(), OFlags::PATH),
        ]);
        let files: Vec<_> = (0..7).map(|at| all.file("file", at).is_ok()).collect();
        assert_eq!(files, [true, false, false, false, false, false, false]);
        let directories: Vec<_> = (0..7).map(|at| all.directory("dir", at).is_ok()).collect();
        assert_eq!(
            directories,
            [false, false, false, false, true, false, false]
        );
    }
}
