// SPDX-License-Identifier: GPL-2.0-only
//! Why an image cannot be mounted.

use composefs_format::Digest;
use rustix::io::Errno;

/// Why an image cannot be mounted, in one line without its path.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It has no digest, and must have one.
    #[error("image has no fs-verity, so no digest, expected {0}")]
    NoVerity(Digest),
    /// It has another digest.
    #[error("image has the wrong digest: {found}, expected {expected}")]
    WrongDigest {
        /// What it has, in words.
        found: String,
        /// What it should have.
        expected: Digest,
    },
    /// It is none.
    #[error("not a composefs image")]
    NotComposefs,
    /// Only the driver can do what is asked for.
    #[error("{0} needs the composefs driver, which this kernel does not have")]
    NoDriver(&'static str),
    /// The kernel said why.
    #[error("{message}")]
    Refused {
        /// What it said.
        message: String,
        /// The error of the system call.
        errno: Errno,
    },
    /// A system call failed.
    #[error("{step}: {errno}")]
    System {
        /// What could not be done.
        step: String,
        /// The error of the system call.
        errno: Errno,
    },
}

impl Error {
    /// The error as a C program knows it; those about digests are as in `lcfs-mount.h`.
    pub fn errno(&self) -> Errno {
        match self {
            Self::NoVerity(_) => Errno::NOTTY,
            Self::WrongDigest { .. } => Errno::ILSEQ,
            Self::NotComposefs => Errno::INVAL,
            Self::NoDriver(_) => Errno::OPNOTSUPP,
            Self::Refused { errno, .. } | Self::System { errno, .. } => *errno,
        }
    }
}

/// Says what a system call was for.
pub(crate) trait Step<T> {
    /// An error is that of `step`.
    fn step(self, step: impl FnOnce() -> String) -> Result<T, Error>;
}

impl<T, E: Into<std::io::Error>> Step<T> for Result<T, E> {
    fn step(self, step: impl FnOnce() -> String) -> Result<T, Error> {
        self.map_err(|error| Error::System {
            step: step(),
            errno: Errno::from_io_error(&error.into()).unwrap_or(Errno::IO),
        })
    }
}
