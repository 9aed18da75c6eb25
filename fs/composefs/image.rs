// SPDX-License-Identifier: GPL-2.0-only

//! The manifest image, which is looked at block by block.

use crate::{
    format::{self, Source, BLOCK_SIZE},
    vfs::{error::EUCLEAN, frozen_file::FrozenFile, stable_bytes::StableBytes},
    Composefs,
};
use kernel::{fmt, prelude::*};

/// A manifest image that is mounted.
pub(crate) type Image = format::Image<Manifest>;

/// The file that holds a manifest image.
pub(crate) struct Manifest(FrozenFile<Composefs>);

impl Manifest {
    pub(crate) fn new(file: FrozenFile<Composefs>) -> Self {
        Self(file)
    }

    /// The file itself.
    pub(crate) fn file(&self) -> &FrozenFile<Composefs> {
        &self.0
    }
}

impl Source for Manifest {
    type Error = Error;
    type Block<'a> = StableBytes;

    fn size(&self) -> u64 {
        self.0.size()
    }

    fn block(&self, index: u64) -> Result<StableBytes, Error> {
        let offset = index
            .checked_mul(BLOCK_SIZE)
            .ok_or(format::Error::Corrupt("block is past any file"))?;

        self.0
            .view(offset, BLOCK_SIZE as usize)
            .map_err(Error::Read)
    }
}

/// Why a part of an image cannot be had.
#[derive(Clone, Copy)]
pub(crate) enum Error {
    /// The file cannot be read.
    Read(kernel::error::Error),
    /// What it says is wrong.
    Format(format::Error),
}

impl Error {
    /// The error for a system call that mounts an image.
    pub(crate) fn at_mount(self) -> kernel::error::Error {
        match self {
            Self::Read(error) => error,
            Self::Format(format::Error::Corrupt(_)) => EUCLEAN,
            Self::Format(format::Error::NotComposefs(_) | format::Error::Unsupported(_)) => EINVAL,
        }
    }

    /// The error for a system call on an image that is mounted: whatever is wrong with a part of
    /// it, it was not made so on purpose.
    pub(crate) fn at_use(self) -> kernel::error::Error {
        match self {
            Self::Read(error) => error,
            Self::Format(_) => EUCLEAN,
        }
    }
}

impl From<format::Error> for Error {
    fn from(error: format::Error) -> Self {
        Self::Format(error)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(error) => f.write_fmt(fmt!("cannot be read: {error:?}")),
            Self::Format(error) => f.write_str(error.reason()),
        }
    }
}
