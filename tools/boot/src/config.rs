// SPDX-License-Identifier: GPL-2.0-only
//! What of the root file system can be written to: a file of the initramfs, as composefs-rs reads
//! it.

use std::io::ErrorKind;
use std::path::Path;

use anyhow::{Context, Result};
use serde::Deserialize;

/// What can be written to.
#[derive(Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(default)]
pub struct Config {
    /// The root itself.
    pub root: Root,
    /// `/etc`, by default an overlay.
    pub etc: Directory,
    /// `/var`, by default that of the state.
    pub var: Directory,
}

/// How the root is.
#[derive(Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(default)]
pub struct Root {
    /// What is written to it is in memory.
    pub transient: bool,
}

/// How a directory of the root is.
#[derive(Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(default)]
pub struct Directory {
    mount: Option<Mount>,
    transient: bool,
}

/// What is mounted at a directory of the root.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Mount {
    /// Nothing: it is as in the image.
    None,
    /// The directory of the state.
    Bind,
    /// What is written is in the directory of the state.
    Overlay,
    /// What is written is in memory.
    Transient,
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

impl Directory {
    /// What is mounted at it, `default` if nothing is said.
    pub fn mount(&self, default: Mount) -> Mount {
        match (self.mount, self.transient) {
            (Some(mount), _) => mount,
            (None, true) => Mount::Transient,
            (None, false) => default,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_and_what_is_not() {
        let config =
            Config::parse("[etc]\ntransient = true\n[var]\nmount = \"none\"\n").expect("config");
        assert!(!config.root.transient);
        assert_eq!(config.etc.mount(Mount::Overlay), Mount::Transient);
        assert_eq!(config.var.mount(Mount::Bind), Mount::None);
        let config = Config::parse("[root]\ntransient = true\n").expect("config");
        assert!(config.root.transient);
        assert_eq!(config.etc.mount(Mount::Overlay), Mount::Overlay);
        let error = Config::parse("[etc]\nmount = \"x\"\n").expect_err("no such mount");
        assert!(error.to_string().contains("unknown variant `x`"), "{error}");
    }
}
