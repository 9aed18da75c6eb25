// SPDX-License-Identifier: GPL-2.0-only
//! What an image must be before anything is mounted. The driver checks all of it once more.

use std::os::fd::BorrowedFd;

use composefs_format::disk::header;
use composefs_format::{Algorithm, Digest};
use composefs_ioctls::fsverity::{fs_ioc_measure_verity, MeasureVerityError};

use crate::error::{Error, Step};

/// What the header of an image says.
#[derive(Clone, Copy)]
pub struct Header {
    /// Whether some file has a POSIX ACL.
    pub has_acl: bool,
}

/// Looks whether `image` is one, and has the digests that are expected.
pub fn check(image: BorrowedFd, expected: &[&Option<Digest>]) -> Result<Header, Error> {
    for expected in expected.iter().copied().flatten() {
        check_digest(image, expected)?;
    }
    let mut bytes = [0; 16];
    let len = rustix::io::pread(image, &mut bytes, 0).step(|| "cannot be read".into())?;
    let number = |at: usize| {
        let bytes = bytes[..len].get(at..)?.first_chunk()?;
        Some(u32::from_le_bytes(*bytes))
    };
    match (
        number(header::at::MAGIC.offset()),
        number(header::at::FLAGS.offset()),
    ) {
        (Some(header::MAGIC), Some(flags)) => Ok(Header {
            has_acl: flags & header::HAS_ACL != 0,
        }),
        _ => Err(Error::NotComposefs),
    }
}

fn check_digest(image: BorrowedFd, expected: &Digest) -> Result<(), Error> {
    let algorithm = expected.algorithm();
    let measured = match algorithm {
        Algorithm::Sha256 => fs_ioc_measure_verity::<32>(image, algorithm.id())
            .map(|bytes| Digest::from_bytes(algorithm, &bytes)),
        Algorithm::Sha512 => fs_ioc_measure_verity::<64>(image, algorithm.id())
            .map(|bytes| Digest::from_bytes(algorithm, &bytes)),
    };
    let found = match measured {
        Ok(Some(found)) if found == *expected => return Ok(()),
        Ok(Some(found)) => found.to_string(),
        Ok(None)
        | Err(
            MeasureVerityError::InvalidDigestAlgorithm { .. }
            | MeasureVerityError::InvalidDigestSize { .. },
        ) => "one by another algorithm".into(),
        Err(MeasureVerityError::VerityMissing | MeasureVerityError::FilesystemNotSupported) => {
            return Err(Error::NoVerity(*expected))
        }
        Err(MeasureVerityError::Io(error)) => {
            return Err(error).step(|| "cannot ask for its digest".into())
        }
    };
    Err(Error::WrongDigest {
        found,
        expected: *expected,
    })
}
