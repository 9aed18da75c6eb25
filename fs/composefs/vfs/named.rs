// SPDX-License-Identifier: GPL-2.0-only

//! Files and directories that whoever mounts names, or has open.

use super::{
    path::{self, Directory},
    regular_file::RegularFile,
};
use kernel::{fs::LocalFile, prelude::*, str::CString};

/// A regular file: its path, or the file itself and the path that it has.
pub(crate) struct NamedFile {
    name: CString,
    file: Option<RegularFile>,
}

impl NamedFile {
    /// The file at the path `name`.
    pub(crate) fn at(name: &CStr) -> Result<Self> {
        Ok(Self {
            name: CString::try_from(name)?,
            file: None,
        })
    }

    /// The very file that is open as `file`: what its opener holds by it, a lock say, is held as
    /// long as this is.
    ///
    /// # Errors
    ///
    /// [`EINVAL`] if it is not a regular file that is open for reading; those of
    /// [`path::shown()`].
    pub(crate) fn from_open(file: &LocalFile) -> Result<Self> {
        Ok(Self {
            name: path::shown(file)?,
            file: Some(RegularFile::from_open(file)?),
        })
    }

    /// Its path, when it was named or given.
    pub(crate) fn name(&self) -> &CStr {
        &self.name
    }

    /// The file, which is opened with the credentials of the current task if it
    /// is not open.
    ///
    /// # Errors
    ///
    /// Those of [`RegularFile::open()`].
    pub(super) fn open(&mut self) -> Result<RegularFile> {
        match self.file.take() {
            Some(file) => Ok(file),
            None => RegularFile::open(&self.name),
        }
    }
}

/// A directory: its path, or the directory itself and the path that it has.
pub(crate) struct NamedDirectory {
    name: CString,
    directory: Option<Directory>,
}

impl NamedDirectory {
    /// The directory at the path `name`.
    pub(crate) fn at(name: CString) -> Self {
        Self {
            name,
            directory: None,
        }
    }

    /// The directory that is open as `file`.
    ///
    /// # Errors
    ///
    /// [`ENOTDIR`] if it is none; those of [`path::shown()`].
    pub(crate) fn from_open(file: &LocalFile) -> Result<Self> {
        Ok(Self {
            name: path::shown(file)?,
            directory: Some(Directory::from_file(file)?),
        })
    }

    /// Its path, when it was named or given.
    pub(crate) fn name(&self) -> &CStr {
        &self.name
    }

    /// The directory, which is looked up with the credentials of the current task if it was not
    /// given.
    ///
    /// # Errors
    ///
    /// Those of [`Directory::lookup()`].
    pub(crate) fn open(&mut self) -> Result<Directory> {
        match self.directory.take() {
            Some(directory) => Ok(directory),
            None => Directory::lookup(&self.name),
        }
    }
}

impl From<NamedFile> for CString {
    fn from(file: NamedFile) -> Self {
        file.name
    }
}
