// SPDX-License-Identifier: GPL-2.0-only
//! Root file systems of other Debian suites, made by mmdebstrap.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::Path;
use std::process::Command;

use anyhow::{bail, Result};

use crate::apt::World;
use crate::arch::Arch;
use crate::emulator;
use crate::place;
use crate::process::Log;
use crate::suite::Archive;

/// How much of a system is in a root: mmdebstrap's variants.
#[derive(Clone, Copy)]
pub enum Variant {
    /// The packages that are named and what they depend on, unpacked only.
    Extract,
    /// What is needed to install packages.
    Apt,
    /// What an administrator expects.
    Important,
}

/// What documentation and translations a root does without.
pub const NO_DOCUMENTATION: &[&str] = &[
    "/usr/share/doc/*",
    "/usr/share/man/*",
    "/usr/share/locale/*",
];

/// Makes a root at `dir`. `NAME:ARCH` is a package of another architecture.
pub fn make(
    dir: &Path,
    archive: impl Into<Archive>,
    variant: Variant,
    packages: &[&str],
    without: &[&str],
    log: &Log,
) -> Result<()> {
    let archive = archive.into();
    let sources = World::new(archive)?.sources_list();
    make_from(
        &[sources.into()],
        dir,
        archive,
        variant,
        packages,
        without,
        log,
    )
}

/// The same, of packages from other sources: files with them, or lines.
pub fn make_from(
    sources: &[OsString],
    dir: &Path,
    archive: impl Into<Archive>,
    variant: Variant,
    packages: &[&str],
    without: &[&str],
    log: &Log,
) -> Result<()> {
    need_root("making a Debian root")?;
    let archive = archive.into();
    let mut command = match (archive.arch, variant) {
        (Arch::Amd64, _) | (_, Variant::Extract) => Command::new("mmdebstrap"),
        // What packages run when they are installed.
        (arch, _) => {
            let mut command = emulator::around(arch, "mmdebstrap")?;
            command.arg("--skip=check/qemu");
            command
        }
    };
    let mut architectures = vec![archive.arch.name()];
    let foreign = packages
        .iter()
        .filter_map(|package| package.split(':').nth(1));
    architectures.extend(foreign.collect::<BTreeSet<_>>());
    let variant = match variant {
        Variant::Extract => "extract",
        Variant::Apt => "apt",
        Variant::Important => "important",
    };
    command.args([
        "--mode=root",
        &format!("--architectures={}", architectures.join(",")),
        &format!("--variant={variant}"),
        &format!("--include={}", packages.join(",")),
        "--aptopt=Acquire::Check-Valid-Until \"false\"",
        "--aptopt=Acquire::Languages \"none\"",
        // A root that was not finished when the machine stopped is made anew.
        "--dpkgopt=force-unsafe-io",
    ]);
    command.args(
        without
            .iter()
            .map(|path| format!("--dpkgopt=path-exclude={path}")),
    );
    command.arg(archive.suite.name()).arg(dir).args(sources);
    log.run(&mut command)
}

/// A command in a root; the checkout, the cache and each of `binds` are there under their own
/// names. The caller adds the program and its arguments.
pub fn enter(root: &Path, binds: &[&Path]) -> Result<Command> {
    need_root("entering a Debian root")?;
    // What is below the cache is seen if it comes after that.
    let mut all = vec![place::checkout("").canonicalize()?, place::cache()?];
    all.extend(binds.iter().map(|&bind| bind.to_path_buf()));
    let binds = all;

    let mut command = Command::new("unshare");
    command
        .args(["--mount", "--propagation", "private"])
        .arg(place::checkout("scripts/lib/enter-root"))
        .arg(root)
        .arg(binds.len().to_string())
        .args(binds);
    clean_environment(&mut command);
    Ok(command)
}

/// Of this process's environment, a command in a root sees nothing.
pub fn clean_environment(command: &mut Command) {
    let or = |name: &str, default: &str| std::env::var(name).unwrap_or_else(|_| default.into());
    command.args([
        "env",
        "-i",
        &format!("HOME={}", or("HOME", "/")),
        &format!("TERM={}", or("TERM", "dumb")),
        "LC_ALL=C.UTF-8",
        "PATH=/usr/sbin:/usr/bin:/sbin:/bin",
    ]);
}

/// Fails, saying what for, unless this process has root's rights.
pub fn need_root(what: &str) -> Result<()> {
    if !rustix::process::geteuid().is_root() {
        bail!("{what} needs root: use sudo");
    }
    Ok(())
}
