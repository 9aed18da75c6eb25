// SPDX-License-Identifier: GPL-2.0-only

//! Digests: from the kernel's to the format's, and to words.

use crate::{
    format::{Algorithm, Digest},
    vfs::verity,
};
use kernel::{fmt, prelude::*};

/// Why a file does not have the digest that it should have.
#[derive(Clone, Copy)]
pub(crate) enum Mismatch {
    /// It has no fs-verity.
    NoVerity,
    /// It has one by an algorithm that the format does not know: its number.
    UnknownAlgorithm(u8),
    /// It has this one.
    Other(Digest),
}

/// The digest of a file of which fs-verity says `found`.
pub(crate) fn of(found: Option<verity::Digest>) -> Result<Digest, Mismatch> {
    let found = found.ok_or(Mismatch::NoVerity)?;

    Algorithm::from_id(found.algorithm)
        .and_then(|algorithm| Digest::from_bytes(algorithm, found.as_bytes()))
        .ok_or(Mismatch::UnknownAlgorithm(found.algorithm))
}

/// Checks that the digest of a file is `expected`.
pub(crate) fn check(found: Result<Digest, Mismatch>, expected: &Digest) -> Result<(), Mismatch> {
    match found? {
        found if found == *expected => Ok(()),
        found => Err(Mismatch::Other(found)),
    }
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoVerity => f.write_str("has no fs-verity, so no digest"),
            Self::UnknownAlgorithm(id) => {
                f.write_fmt(fmt!("has a digest by unknown algorithm {id}"))
            }
            Self::Other(found) => f.write_fmt(fmt!("has the wrong digest: {}", Named(found))),
        }
    }
}

/// A digest as messages and `/proc/mounts` show it: `sha256:0123…`.
pub(crate) struct Named<'a>(pub(crate) &'a Digest);

impl fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.algorithm().name())?;
        f.write_str(":")?;
        core::fmt::Display::fmt(self.0, f)
    }
}
