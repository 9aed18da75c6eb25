// SPDX-License-Identifier: GPL-2.0-only
//! What others have for container images (a registry, skopeo, umoci), on a disk of its own that the
//! harness gives the guest, or in this machine's root; and a machine's configuration for them, which
//! tests change.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::command::{output, run};
use crate::mount::Mount;
use crate::setup;
use crate::tap::Skip;

/// How the disk is known.
const LABEL: &str = "LABEL=containers";

/// Their root, and a copy of `/etc` and an empty `/var/lib` over the machine's, whose root other
/// programs have an image of: skopeo keeps there what it has seen where.
pub struct Containers {
    // In this order they go.
    _etc: Mount,
    _lib: Mount,
    _disk: Option<Mount>,
    root: PathBuf,
    home: PathBuf,
}

impl Containers {
    /// Brings them up, from `CONTAINERS` or the disk; what has to be kept is below `work`. Skips
    /// where there is neither.
    ///
    /// # Errors
    /// If that cannot be done.
    pub fn set_up(work: &Path) -> Result<Self> {
        let (root, disk) = match env::var_os("CONTAINERS") {
            Some(root) => (root.into(), None),
            None => {
                let disk = mount_disk(&work.join("containers"))?;
                (disk.root().to_owned(), Some(disk))
            }
        };

        run("mount", ["-t", "tmpfs", "tmpfs", "/var/lib"])?;
        let lib = Mount::adopt(Path::new("/var/lib"));
        let etc = work.join("etc");
        run("cp", [Path::new("-a"), Path::new("/etc"), &etc])?;
        run("mount", [Path::new("--bind"), &etc, Path::new("/etc")])?;
        let etc = Mount::adopt(Path::new("/etc"));
        if disk.is_some() {
            let policy = "etc/containers/policy.json";
            setup::create_dir(Path::new("/etc/containers"))?;
            fs::copy(root.join(policy), Path::new("/").join(policy))?;
        }
        let home = work.join("home");
        setup::create_dir(&home)?;
        Ok(Self {
            _etc: etc,
            _lib: lib,
            _disk: disk,
            root,
            home,
        })
    }

    /// One of the disk's programs.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.root.join("usr/bin").join(program));
        self.give(&mut command);
        command
    }

    /// Gives a program, which may run them, what it takes to find them.
    pub fn give(&self, command: &mut Command) {
        let path = env::var("PATH").unwrap_or_default();
        let bin = self.root.join("usr/bin");
        command
            .env("PATH", format!("{path}:{}", bin.display()))
            .env("LD_LIBRARY_PATH", self.root.join(setup::LIBRARIES))
            .env("HOME", &self.home);
    }

    /// Runs skopeo.
    ///
    /// # Errors
    /// If it fails.
    pub fn skopeo(&self, arguments: &[&str]) -> Result<String> {
        output(self.command("skopeo").args(arguments))
    }

    /// Runs composefs-rs's tool on a repository. Skips where there is none.
    ///
    /// # Errors
    /// If it fails.
    pub fn cfsctl(&self, repository: &Path, arguments: &[&str]) -> Result<String> {
        let mut command = Command::new(setup::cfsctl()?);
        self.give(&mut command);
        output(command.arg("--repo").arg(repository).args(arguments))
    }

    /// Runs umoci.
    ///
    /// # Errors
    /// If it fails.
    pub fn umoci(&self, arguments: &[&str]) -> Result<String> {
        output(self.command("umoci").args(arguments))
    }
}

fn mount_disk(at: &Path) -> Result<Mount> {
    setup::create_dir(at)?;
    if run("mount", ["-o", "ro", LABEL, text(at)?]).is_err() {
        return Err(Skip(format!("no disk with {LABEL}")).into());
    }
    Ok(Mount::adopt(at))
}

/// The path as the command lines of these programs have it.
///
/// # Errors
/// If it is not text.
pub fn text(path: &Path) -> Result<&str> {
    path.to_str()
        .with_context(|| format!("{}: is not text", path.display()))
}
