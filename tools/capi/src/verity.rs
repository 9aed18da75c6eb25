// SPDX-License-Identifier: GPL-2.0-only
//! fs-verity digests: by SHA-256, the only algorithm that the C interface knows.

use std::os::fd::BorrowedFd;

use composefs_ioctls::fsverity::{
    fs_ioc_enable_verity, fs_ioc_measure_verity, EnableVerityError, MeasureVerityError,
};
use composefs_tools::fsverity::{Algorithm, Hasher, BLOCK_SIZE};
use rustix::io::Errno;

/// A digest.
pub type Bytes = [u8; 32];

/// The digest of what `read` gives, until it gives no more.
///
/// # Errors
/// That of `read`.
pub fn of_content(mut read: impl FnMut(&mut [u8]) -> Result<usize, Errno>) -> Result<Bytes, Errno> {
    let mut hasher = Hasher::new(Algorithm::Sha256);
    let mut buffer = vec![0; 16 * BLOCK_SIZE];
    loop {
        match read(&mut buffer)? {
            0 => return finish(hasher),
            len => hasher.update(buffer.get(..len).ok_or(Errno::NODATA)?),
        }
    }
}

/// The digest of `data`.
///
/// # Errors
/// None.
pub fn of_data(data: &[u8]) -> Result<Bytes, Errno> {
    let mut hasher = Hasher::new(Algorithm::Sha256);
    hasher.update(data);
    finish(hasher)
}

fn finish(mut hasher: Hasher) -> Result<Bytes, Errno> {
    hasher
        .finish()
        .as_bytes()
        .try_into()
        .map_err(|_| Errno::INVAL)
}

/// The digest of what a file holds from where it is positioned to its end.
///
/// # Errors
/// [`Errno::NODATA`] if it cannot be read.
pub fn of_file(file: BorrowedFd) -> Result<Bytes, Errno> {
    of_content(|buffer| loop {
        match rustix::io::read(file, &mut *buffer) {
            Err(Errno::INTR) => {}
            Err(_) => return Err(Errno::NODATA),
            Ok(len) => return Ok(len),
        }
    })
}

/// The digest that the kernel has for a file.
///
/// # Errors
/// [`Errno::NOTTY`] if it has none, [`Errno::ILSEQ`] if it is one by another algorithm.
pub fn measured(file: BorrowedFd) -> Result<Bytes, Errno> {
    fs_ioc_measure_verity(file, Algorithm::Sha256.id()).map_err(|error| match error {
        MeasureVerityError::VerityMissing | MeasureVerityError::FilesystemNotSupported => {
            Errno::NOTTY
        }
        MeasureVerityError::InvalidDigestAlgorithm { .. }
        | MeasureVerityError::InvalidDigestSize { .. } => Errno::ILSEQ,
        MeasureVerityError::Io(error) => Errno::from_io_error(&error).unwrap_or(Errno::IO),
    })
}

/// The digest that the kernel has for a file, or else that of its content.
///
/// # Errors
/// As [`measured()`], but if there is none; if the file cannot be read.
pub fn of_whole_file(file: BorrowedFd) -> Result<Bytes, Errno> {
    match measured(file) {
        Err(Errno::NOTTY) => {
            rustix::fs::seek(file, rustix::fs::SeekFrom::Start(0))?;
            of_file(file)
        }
        result => result,
    }
}

/// Enables fs-verity on a file.
///
/// # Errors
/// Those of `FS_IOC_ENABLE_VERITY`.
pub fn enable(file: BorrowedFd) -> Result<(), Errno> {
    fs_ioc_enable_verity(file, Algorithm::Sha256.id(), BLOCK_SIZE as u32).map_err(|error| {
        match error {
            EnableVerityError::FilesystemNotSupported => Errno::OPNOTSUPP,
            EnableVerityError::AlreadyEnabled => Errno::EXIST,
            EnableVerityError::FileOpenedForWrite => Errno::TXTBSY,
            EnableVerityError::SignatureVerificationFailed => Errno::KEYREJECTED,
            EnableVerityError::Io(error) => Errno::from_io_error(&error).unwrap_or(Errno::IO),
        }
    })
}
