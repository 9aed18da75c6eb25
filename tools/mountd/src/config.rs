// SPDX-License-Identifier: GPL-2.0-only
//! What the administrator says: `/etc/composefs/mountd.conf`, in TOML.

use std::io::ErrorKind;
use std::path::Path;

use anyhow::{Context, Result};
use composefs_format::Digest;
use serde::de::Error;
use serde::{Deserialize, Deserializer};

/// Where it says so.
pub const PATH: &str = "/etc/composefs/mountd.conf";

/// All of it.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// What is granted.
    pub grant: Grant,
    /// How much of it.
    pub limits: Limits,
}

/// What is granted.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Grant {
    /// Images with a signature by a key that the kernel trusts.
    pub signed: bool,
    /// Images with these fs-verity digests.
    #[serde(deserialize_with = "digests")]
    pub digests: Vec<Digest>,
    /// What users say is an image, made anew with them for the owners of everything.
    pub own: bool,
}

/// How much is granted.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Limits {
    /// Mounts of one user.
    pub mounts_of_user: usize,
    /// Mounts of all users together.
    pub mounts: usize,
    /// Calls of one user at the same time.
    pub calls_of_user: usize,
    /// Calls of all users together at the same time.
    pub calls: usize,
    /// How long a call may take, in seconds.
    pub seconds: u64,
    /// The size of an image that is made anew, in bytes.
    pub own_size: u64,
}

impl Default for Grant {
    fn default() -> Self {
        Self {
            signed: true,
            digests: Vec::new(),
            own: true,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            mounts_of_user: 100,
            mounts: 2000,
            calls_of_user: 8,
            calls: 64,
            seconds: 30,
            own_size: 64 << 20,
        }
    }
}

fn digests<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Digest>, D::Error> {
    let texts = Vec::<String>::deserialize(from)?;
    let parse = |text: &String| {
        Digest::parse_hex(text.as_bytes())
            .map_err(|_| D::Error::custom(format_args!("{text:?} is not a digest in hexadecimal")))
    };
    texts.iter().map(parse).collect()
}

impl Config {
    /// What the file at `path` says; if there is none, the defaults.
    ///
    /// # Errors
    /// If it cannot be read, or is malformed.
    pub fn read(path: &Path) -> Result<Self> {
        let text = match std::fs::read_to_string(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Self::default()),
            result => result.with_context(|| format!("cannot read {}", path.display()))?,
        };
        Self::parse(&text).with_context(|| path.display().to_string())
    }

    fn parse(text: &str) -> Result<Self> {
        // The rest of the message is a drawing of the line.
        toml::from_str(text).map_err(|error| anyhow::anyhow!("{}", error.message()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_said_is_as_by_default() {
        let hex = "0f".repeat(32);
        let config = Config::parse(&format!("[grant]\nown = false\ndigests = [\"{hex}\"]"));
        let config = config.unwrap();
        assert!(config.grant.signed && !config.grant.own);
        assert_eq!(
            config.grant.digests,
            [Digest::parse_hex(hex.as_bytes()).unwrap()]
        );
        assert_eq!(config.limits, Limits::default());
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for text in [
            "[grant]\nsinged = true",
            "[grant]\ndigests = [\"0f\"]",
            "[limits]\nmounts = -1",
            "mounts = 1",
        ] {
            assert!(Config::parse(text).is_err(), "{text}");
        }
    }
}
