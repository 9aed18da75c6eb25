// SPDX-License-Identifier: GPL-2.0-only

//! Digests: from the kernel's to the format's, and to words.

use crate::{
    format::{Algorithm, Digest},
    vfs::verity,
};
use kernel::{fmt, prelude::*};

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
