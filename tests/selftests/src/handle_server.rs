// SPDX-License-Identifier: GPL-2.0-only
//! File handles of mounted images, made, opened, and made up.

use std::path::Path;

use anyhow::{Context, Result};

use crate::python::Server;

/// One process, which serves all images.
pub struct Handles(Server);

const SCRIPT: &str = include_str!("../python/handle_server.py");

impl Handles {
    pub fn start() -> Result<Self> {
        Ok(Self(Server::start::<&str>(SCRIPT, &[])?))
    }

    /// Tries those of the image that is mounted at `root`, and some that depend on `seed`. Gives for
    /// how many names there is a handle.
    pub fn try_all(&mut self, root: &Path, seed: u64) -> Result<usize> {
        let answer = self.0.ask(&format!("{seed} {}", root.display()))?;
        answer.parse().context("file handles")
    }
}
