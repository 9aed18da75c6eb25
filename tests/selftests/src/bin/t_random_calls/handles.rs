// SPDX-License-Identifier: GPL-2.0-only
//! File handles, made of paths, and opened as they are or with other bytes. Python has the calls.

use std::fmt::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use anyhow::{Context as _, Result};
use composefs_fuzz::random::Random;
use composefs_selftests::python::Server;

const SCRIPT: &str = include_str!("../../../python/random_handles.py");

/// The handles of a task.
pub struct Handles(Server);

impl Handles {
    /// For mounts of the same image.
    pub fn of(roots: &[&Path]) -> Result<Self> {
        Ok(Self(Server::start(SCRIPT, roots)?))
    }

    /// Makes the handle of what is at `path`, or opens one that was made before; whether that
    /// succeeded. Fails if it opened another file, or one to be written.
    pub fn call(&mut self, random: &mut Random, path: &Path) -> Result<bool> {
        let mut line = format!("{} ", random.number());
        for byte in path.as_os_str().as_bytes() {
            write!(line, "{byte:02x}")?;
        }
        Ok(self.0.ask(&line).context("file handles")? == "1")
    }
}
