// SPDX-License-Identifier: GPL-2.0-only
//! Digests as OCI has them: `sha256:` and hexadecimal digits.

use std::fmt;
use std::str::FromStr;

use anyhow::{anyhow, Error};
use composefs_tools::quote;
use serde::{Deserialize, Deserializer};
use sha2::{Digest as _, Sha256};

const PREFIX: &str = "sha256:";
const DIGITS: usize = 64;

/// The digest of a blob.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct BlobDigest(String);

impl BlobDigest {
    /// That of `data`.
    pub fn of(data: &[u8]) -> Self {
        let mut hasher = Hasher::default();
        hasher.update(data);
        hasher.finish()
    }

    /// With the name of the algorithm in front.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The digits.
    pub fn hex(&self) -> &str {
        self.0.strip_prefix(PREFIX).unwrap_or_default()
    }
}

impl fmt::Display for BlobDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for BlobDigest {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let is_digit = |byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        let hex = text.strip_prefix(PREFIX);
        match hex.is_some_and(|hex| hex.len() == DIGITS && hex.bytes().all(is_digit)) {
            true => Ok(Self(text.to_owned())),
            false => Err(anyhow!(
                "{} is not a digest by SHA-256",
                quote::bytes(text.as_bytes())
            )),
        }
    }
}

impl<'de> Deserialize<'de> for BlobDigest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// What makes a digest, byte by byte.
#[derive(Clone, Debug, Default)]
pub struct Hasher(Sha256);

impl Hasher {
    /// Adds bytes.
    pub fn update(&mut self, data: &[u8]) {
        self.0.update(data);
    }

    /// The digest of all of them.
    pub fn finish(self) -> BlobDigest {
        use fmt::Write;
        let mut text = PREFIX.to_owned();
        for byte in self.0.finalize() {
            // It cannot fail.
            let _ = write!(text, "{byte:02x}");
        }
        BlobDigest(text)
    }
}
