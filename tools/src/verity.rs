// SPDX-License-Identifier: GPL-2.0-only
//! fs-verity as the kernel does it: enabling it on files, and asking for digests.

use std::fmt;
use std::io;
use std::os::fd::AsFd;

use anyhow::{Context, Result};
use composefs_ioctls::fsverity::{
    fs_ioc_enable_verity, fs_ioc_measure_verity, EnableVerityError, MeasureVerityError,
};

use crate::fsverity::{Algorithm, Digest, BLOCK_SIZE};

/// What became of an attempt to enable fs-verity.
#[derive(Debug, PartialEq, Eq)]
pub enum Enabled {
    /// It is enabled.
    Yes,
    /// It cannot be; the file is as it was.
    No(Obstacle),
}

/// Why fs-verity cannot be enabled on a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// The filesystem has none.
    Filesystem,
    /// Something about this file.
    Other(String),
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Filesystem => f.write_str("the filesystem does not support fs-verity"),
            Self::Other(reason) => f.write_str(reason),
        }
    }
}

/// Enables fs-verity on a file that is open for reading, and nowhere for writing.
///
/// # Errors
/// If the disk is full or broken. That the filesystem lacks fs-verity is not an error.
pub fn enable(file: impl AsFd, algorithm: Algorithm) -> Result<Enabled> {
    match fs_ioc_enable_verity(file, algorithm.id(), BLOCK_SIZE as u32) {
        Ok(()) | Err(EnableVerityError::AlreadyEnabled) => Ok(Enabled::Yes),
        Err(EnableVerityError::Io(error)) if is_fatal(&error) => {
            Err(error).context("cannot enable fs-verity")
        }
        Err(EnableVerityError::FilesystemNotSupported) => Ok(Enabled::No(Obstacle::Filesystem)),
        Err(error) => Ok(Enabled::No(Obstacle::Other(error.to_string()))),
    }
}

fn is_fatal(error: &io::Error) -> bool {
    use io::ErrorKind::{QuotaExceeded, StorageFull};
    let broken = error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error());
    broken || matches!(error.kind(), StorageFull | QuotaExceeded)
}

/// The fs-verity digest that the kernel has for a file; `None` if fs-verity is not enabled on it.
///
/// # Errors
/// If fs-verity is enabled with another hash algorithm, or the file cannot be asked.
pub fn measure(file: impl AsFd, algorithm: Algorithm) -> Result<Option<Digest>> {
    let id = algorithm.id();
    let measured = match algorithm {
        Algorithm::Sha256 => {
            fs_ioc_measure_verity::<32>(file, id).map(|d| Digest::from_bytes(algorithm, &d))
        }
        Algorithm::Sha512 => {
            fs_ioc_measure_verity::<64>(file, id).map(|d| Digest::from_bytes(algorithm, &d))
        }
    };
    match measured {
        Ok(digest) => Ok(digest),
        Err(MeasureVerityError::VerityMissing | MeasureVerityError::FilesystemNotSupported) => {
            Ok(None)
        }
        Err(error) => Err(error).context("cannot ask for the fs-verity digest"),
    }
}
