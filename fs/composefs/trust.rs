// SPDX-License-Identifier: GPL-2.0-only

//! What the image must prove, and what follows for the objects.

use crate::{
    format::{Algorithm, Digest},
    vfs::{
        context::{errorf, Log},
        page_cache::FrozenFile,
        verity,
    },
};
use kernel::{fmt, prelude::*};

/// What an object must prove when it is first opened.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verity {
    /// Nothing.
    Off,
    /// That it has the digest that the image gives for it, if it gives one.
    On,
    /// That it has the digest that the image gives for it, and it gives one.
    Require,
}

impl Verity {
    /// The value of the mount option.
    pub(crate) fn name(self) -> &'static CStr {
        match self {
            Self::Off => c"off",
            Self::On => c"on",
            Self::Require => c"require",
        }
    }
}

/// Checks that `file` has the fs-verity digest `expected`.
///
/// Once it is found to have it, its file system checks all that is ever read
/// from it.
///
/// # Errors
///
/// [`EBADMSG`], described in `log`.
pub(crate) fn check_image(
    file: &FrozenFile,
    source: &CStr,
    expected: &Digest,
    log: &Log<'_>,
) -> Result {
    match file.verity_digest().map(|digest| Digest::try_from(&digest)) {
        Some(Ok(measured)) if measured == *expected => return Ok(()),
        Some(Ok(measured)) => {
            errorf!(
                log,
                "{source}: image has the wrong digest: {}, expected {}",
                Named(&measured),
                Named(expected),
            );
        }
        Some(Err(UnknownAlgorithm(id))) => {
            errorf!(
                log,
                "{source}: image has a digest by unknown algorithm {id}, expected {}",
                Named(expected),
            );
        }
        None => {
            errorf!(
                log,
                "{source}: image has no fs-verity, so no digest, expected {}",
                Named(expected),
            );
        }
    }
    Err(EBADMSG)
}

/// The kernel knows a hash algorithm that the format does not: its number.
pub(crate) struct UnknownAlgorithm(pub(crate) u8);

impl TryFrom<&verity::Digest> for Digest {
    type Error = UnknownAlgorithm;

    fn try_from(measured: &verity::Digest) -> Result<Self, UnknownAlgorithm> {
        Algorithm::from_id(measured.algorithm)
            .and_then(|algorithm| Self::from_bytes(algorithm, measured.as_bytes()))
            .ok_or(UnknownAlgorithm(measured.algorithm))
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
