// SPDX-License-Identifier: GPL-2.0-only
//! What others have for container images (a registry, skopeo, umoci), on a disk of its own that the
//! harness gives the guest; and a machine's configuration for them, which tests change.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::command::run;
use crate::mount::Mount;
use crate::setup;
use crate::tap::Skip;

/// How the disk is known.
const LABEL: &str = "LABEL=containers";
const LIBRARIES: &str = "usr/lib/x86_64-linux-gnu";

/// The disk, mounted, and a copy of `/etc` and an empty `/var/lib` over the machine's, whose root
/// other programs have an image of: skopeo keeps there what it has seen where.
pub struct Containers {
    // In this order they go.
    _etc: Mount,
    _lib: Mount,
    disk: Mount,
    home: PathBuf,
}

impl Containers {
    /// Brings them up; what has to be kept is below `work`. Skips where there is no such disk.
    ///
    /// # Errors
    /// If that cannot be done.
    pub fn set_up(work: &Path) -> Result<Self> {
        let at = work.join("containers");
        setup::create_dir(&at)?;
        let target = at.to_string_lossy();
        if run("mount", ["-o", "ro", LABEL, &target]).is_err() {
            return Err(Skip(format!("no disk with {LABEL}")).into());
        }
        let disk = Mount::adopt(&at);

        run("mount", ["-t", "tmpfs", "tmpfs", "/var/lib"])?;
        let lib = Mount::adopt(Path::new("/var/lib"));
        let etc = work.join("etc");
        run("cp", [Path::new("-a"), Path::new("/etc"), &etc])?;
        run("mount", [Path::new("--bind"), &etc, Path::new("/etc")])?;
        let etc = Mount::adopt(Path::new("/etc"));
        setup::create_dir(Path::new("/etc/containers"))?;
        fs::copy(
            disk.join("etc/containers/policy.json"),
            "/etc/containers/policy.json",
        )?;
        let home = work.join("home");
        setup::create_dir(&home)?;
        Ok(Self {
            _etc: etc,
            _lib: lib,
            disk,
            home,
        })
    }

    /// One of the disk's programs.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.disk.join("usr/bin").join(program));
        self.give(&mut command);
        command
    }

    /// Gives a program, which may run them, what it takes to find them.
    pub fn give(&self, command: &mut Command) {
        let path = std::env::var("PATH").unwrap_or_default();
        let bin = self.disk.join("usr/bin");
        command
            .env("PATH", format!("{path}:{}", bin.display()))
            .env("LD_LIBRARY_PATH", self.disk.join(LIBRARIES))
            .env("HOME", &self.home);
    }

    /// Runs skopeo.
    ///
    /// # Errors
    /// If it fails.
    pub fn skopeo(&self, arguments: &[&str]) -> Result<String> {
        crate::command::output(self.command("skopeo").args(arguments))
    }

    /// Runs umoci.
    ///
    /// # Errors
    /// If it fails.
    pub fn umoci(&self, arguments: &[&str]) -> Result<String> {
        crate::command::output(self.command("umoci").args(arguments))
    }
}

/// The path as the command lines of these programs have it.
///
/// # Errors
/// If it is not text.
pub fn text(path: &Path) -> Result<&str> {
    path.to_str()
        .with_context(|| format!("{}: is not text", path.display()))
}
