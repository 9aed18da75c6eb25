// SPDX-License-Identifier: GPL-2.0-only
//! The Debian packages, built in a Debian root.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::process::{self, Log};
use crate::suite::Suite;
use crate::toolchain::Toolchain;
use crate::{checkout, note, place};

/// What it takes beside the compilers.
pub const PACKAGES: &[&str] = &[
    "build-essential",
    "debhelper",
    "dh-dkms",
    "fakeroot",
    "lintian",
    "python3-docutils",
];

/// Builds the packages of the checkout, has lintian look at them, and gives their directory.
pub fn build() -> Result<PathBuf> {
    let root = Toolchain::with(Suite::Trixie, "packager", PACKAGES)?;
    let dir = place::build("deb/x")?.with_file_name("");
    let _ = fs::remove_dir_all(&dir);
    let source = dir.join("composefs-rust");
    fs::create_dir_all(&dir)?;
    note!("packages: building (usually 2 minutes)");
    let log = Log::create(dir.join("build.log"))?;
    stage(&source)?;
    let in_source = |program: &str| -> Result<Command> {
        let mut command = root.command(&[&dir], program)?;
        command.current_dir(&source);
        Ok(command)
    };
    log.run(in_source("dpkg-buildpackage")?.args(["-us", "-uc", "-b", "--no-check-builddeps"]))?;
    fs::remove_dir_all(&source)?;
    let mut lintian = root.command(&[&dir], "sh")?;
    log.run(lintian.current_dir(&dir).args([
        "-c",
        "lintian --allow-root --fail-on error,warning,info --tag-display-limit 0 *.changes",
    ]))?;
    Ok(dir)
}

/// What is checked out, with debian/ where debhelper looks for it.
fn stage(source: &Path) -> Result<()> {
    let top = place::checkout("").canonicalize()?;
    checkout::copy(source)?;
    let debian = source.join("debian");
    fs::rename(source.join("scripts/packaging/debian"), &debian)?;
    let git = |arguments: &[&str]| -> Result<String> {
        let output = process::output(Command::new("git").args(arguments).current_dir(&top))?;
        Ok(output.trim().to_owned())
    };
    let commit = git(&["log", "-1", "--date=format:%Y%m%d", "--format=%cd.%h"])?;
    let date = git(&["log", "-1", "--date=rfc", "--format=%cd"])?;
    let manifest = fs::read_to_string(top.join("Cargo.toml"))?;
    let version = manifest
        .lines()
        .find_map(|line| line.strip_prefix("version = \"")?.strip_suffix('"'))
        .context("Cargo.toml has no version")?;
    let control = fs::read_to_string(debian.join("control"))?;
    let maintainer = control
        .lines()
        .find_map(|line| line.strip_prefix("Maintainer: "))
        .context("debian/control has no maintainer")?;
    Ok(fs::write(
        debian.join("changelog"),
        format!(
            "composefs-rust ({version}+git{commit}) unstable; urgency=medium\n\n  \
             * The state of {commit}; see its history.\n\n -- {maintainer}  {date}\n"
        ),
    )?)
}
