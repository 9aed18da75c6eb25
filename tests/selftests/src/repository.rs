// SPDX-License-Identifier: GPL-2.0-only
//! A repository of the `composefs` under test.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use crate::command::output;
use crate::containers::{text, Containers};
use crate::mount::Mount;
use crate::setup;

/// A repository.
#[derive(Clone)]
pub struct Repository {
    path: PathBuf,
}

impl Repository {
    /// The one there, made by whatever needs it first.
    pub fn at(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
        }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(setup::payload().join("bin/composefs"));
        command.arg("--repo").arg(&self.path).args(arguments);
        command
    }

    /// What it says.
    ///
    /// # Errors
    /// If it fails.
    pub fn run(&self, arguments: &[&str]) -> Result<String> {
        output(&mut self.command(arguments))
    }

    /// Pulls an image by what others have for that, and gives its digest.
    ///
    /// # Errors
    /// If that fails.
    pub fn pull(&self, containers: &Containers, from: &str, name: &str) -> Result<String> {
        let mut command = self.command(&["pull", from, name]);
        containers.give(&mut command);
        output(&mut command)?;
        self.run(&["digest", name])
    }

    /// Mounts an image.
    ///
    /// # Errors
    /// If that fails.
    pub fn mount(&self, name: &str, target: &Path, more: &[&str]) -> Result<Mount> {
        setup::create_dir(target)?;
        self.run(&[&["mount"], more, &[name, text(target)?]].concat())?;
        Ok(Mount::adopt(target))
    }
}
