// SPDX-License-Identifier: GPL-2.0-only
//! Why a signature does not hold.

use std::fmt;

/// The cases that the driver tells apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// `EBADMSG`: not a signature, or damaged.
    Malformed,
    /// An algorithm that the kernel does not have; `EKEYREJECTED` at mount.
    Unsupported,
    /// `ENOKEY`: nobody trusted vouches for the signer.
    NoKey,
    /// `EKEYREJECTED`: a signature in it is wrong, or against the rules.
    Rejected,
}

/// Why a signature does not hold.
#[derive(Clone, Debug)]
pub struct Fault {
    cause: Cause,
    reason: String,
}

impl Fault {
    fn new(cause: Cause, reason: impl Into<String>) -> Self {
        let reason = reason.into();
        Self { cause, reason }
    }

    pub(crate) fn malformed(reason: impl Into<String>) -> Self {
        Self::new(Cause::Malformed, reason)
    }

    pub(crate) fn unsupported(reason: impl Into<String>) -> Self {
        Self::new(Cause::Unsupported, reason)
    }

    pub(crate) fn no_key(reason: impl Into<String>) -> Self {
        Self::new(Cause::NoKey, reason)
    }

    /// A signature that is wrong, for this reason.
    pub fn rejected(reason: impl Into<String>) -> Self {
        Self::new(Cause::Rejected, reason)
    }

    /// The same about a certificate.
    pub(crate) fn of(self, certificate: &impl fmt::Display) -> Self {
        Self::new(
            self.cause,
            format!("certificate of {certificate}: {}", self.reason),
        )
    }

    /// The same about a part.
    pub(crate) fn within(self, part: &str) -> Self {
        Self::new(self.cause, format!("{part}: {}", self.reason))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.cause {
            Cause::Malformed => "malformed",
            Cause::Unsupported => "not supported",
            Cause::NoKey => "unknown signer",
            Cause::Rejected => "rejected",
        };
        write!(f, "{kind}: {}", self.reason)
    }
}

impl std::error::Error for Fault {}

impl From<der::Error> for Fault {
    fn from(error: der::Error) -> Self {
        Self::malformed(format!("not DER as it should be: {error}"))
    }
}
