// SPDX-License-Identifier: GPL-2.0-only
//! cargo for the userspace side: the host's if it is new enough, else the toolchain root's.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{anyhow, Context, Result};

use crate::arch::Arch;
use crate::place;
use crate::process;
use crate::suite::Suite;
use crate::toolchain::Toolchain;

/// A cargo command, `build` say, with what every such command is given.
pub fn command(subcommand: &str) -> Result<Command> {
    let command = if host_has_one()? {
        Command::new("cargo")
    } else {
        let mut command = Toolchain::of(Suite::Trixie)?.command(&[], "env")?;
        for variable in [
            "RUSTFLAGS",
            "CARGO_TARGET_DIR",
            "COMPOSEFS_CAPI",
            "COMPOSEFS_C_TOOLS",
            "COMPOSEFS_DOCKER_REGISTRY",
            "COMPOSEFS_RS_TOOLS",
        ] {
            if let Some(value) = std::env::var(variable)
                .ok()
                .filter(|value| !value.is_empty())
            {
                command.arg(format!("{variable}={value}"));
            }
        }
        command.arg("cargo");
        command
    };
    Ok(with_subcommand(command, subcommand))
}

fn with_subcommand(mut command: Command, subcommand: &str) -> Command {
    command.arg(subcommand);
    // composefs-ioctls asks for the Rust of the workspace that it comes from; its code needs no
    // more than ours does, with which the tests build it.
    if ["build", "check", "clippy", "run", "rustc", "test"].contains(&subcommand) {
        command.arg("--ignore-rust-version");
    }
    command.current_dir(place::checkout(""));
    command
}

/// Whether the host can build Rust programs, with a cargo at least as new as Cargo.toml says.
fn host_has_one() -> Result<bool> {
    let manifest = std::fs::read_to_string(place::checkout("Cargo.toml"))?;
    let least = manifest
        .lines()
        .find_map(|line| line.strip_prefix("rust-version = "))
        .context("Cargo.toml has no rust-version")?;
    let version = Command::new("cargo")
        .arg("--version")
        .stderr(Stdio::null())
        .output();
    let version = version.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    let is_new = version.is_ok_and(|version| numbers(&version) >= numbers(least));
    let has_cc = Command::new("cc")
        .arg("--version")
        .stdout(Stdio::null())
        .status()
        .is_ok();
    Ok(is_new && has_cc && Path::new("/usr/include/stdio.h").exists())
}

/// The first two numbers in a text.
fn numbers(text: &str) -> Vec<u32> {
    text.split(|c: char| !c.is_ascii_digit())
        .filter_map(|digits| digits.parse().ok())
        .take(2)
        .collect()
}

/// A cargo command of the toolchain root, which builds with Debian's libraries for that machine.
fn debian_command(arch: Arch, subcommand: &str) -> Result<Command> {
    let mut command = Toolchain::of(Suite::of(arch))?.command(&[], "env")?;
    let target = place::checkout("target/debian");
    command.arg(format!("CARGO_TARGET_DIR={}", target.display()));
    if let Some(target) = arch.rust_target() {
        let triplet = arch.triplet();
        let variable = target.to_uppercase().replace('-', "_");
        command.args([
            format!("CARGO_BUILD_TARGET={target}"),
            format!("CARGO_TARGET_{variable}_LINKER={triplet}-gcc"),
            "PKG_CONFIG_ALLOW_CROSS=1".into(),
            format!("PKG_CONFIG_LIBDIR=/usr/lib/{triplet}/pkgconfig"),
        ]);
    }
    command.arg("cargo");
    Ok(with_subcommand(command, subcommand))
}

/// Builds the programs of a package, and gives their paths.
pub fn programs(arch: Arch, package: &str, profile: &str) -> Result<Vec<PathBuf>> {
    Ok(executables(&build(arch, "build", package, profile, &[])?))
}

/// The same with Debian's libraries, which the guest has too, whatever the host's are.
pub fn programs_for_debian(arch: Arch, package: &str, profile: &str) -> Result<Vec<PathBuf>> {
    if !host_has_one()? {
        return programs(arch, package, profile);
    }
    let command = debian_command(arch, "build")?;
    Ok(executables(&run(command, package, profile, &[])?))
}

/// The same for mount.composefs, which is linked in a way of its own.
pub fn mount_helper(arch: Arch, profile: &str) -> Result<Vec<PathBuf>> {
    let flags = std::fs::read_to_string(place::checkout("tools/mount/rustc-flags"))?;
    let mut arguments = vec!["--bin", "mount-composefs", "--"];
    arguments.extend(flags.lines().filter(|line| !line.starts_with('#')));
    Ok(executables(&build(
        arch,
        "rustc",
        "composefs-mount",
        profile,
        &arguments,
    )?))
}

/// A program of a package for this machine, as it is released.
pub fn released(package: &str, name: &str) -> Result<PathBuf> {
    programs(Arch::Amd64, package, "release")?
        .into_iter()
        .find(|path| path.ends_with(name))
        .with_context(|| format!("{name} was not built"))
}

fn executables(built: &[serde_json::Value]) -> Vec<PathBuf> {
    let paths = built
        .iter()
        .filter_map(|built| built["executable"].as_str());
    paths.map(PathBuf::from).collect()
}

/// Builds the library of a package that is for C, and gives its path.
pub fn c_library(arch: Arch, package: &str, profile: &str) -> Result<PathBuf> {
    let built = build(arch, "build", package, profile, &[])?;
    let is_for_c = |kind: &serde_json::Value| kind == "cdylib";
    let library = built.iter().find(|built| {
        built["target"]["kind"]
            .as_array()
            .is_some_and(|kinds| kinds.iter().any(is_for_c))
    });
    let files = library.and_then(|library| library["filenames"].as_array());
    files
        .into_iter()
        .flatten()
        .filter_map(|file| file.as_str())
        .find(|file| file.ends_with(".so"))
        .map(PathBuf::from)
        .with_context(|| format!("{package} has no library"))
}

fn build(
    arch: Arch,
    subcommand: &str,
    package: &str,
    profile: &str,
    arguments: &[&str],
) -> Result<Vec<serde_json::Value>> {
    let command = match arch {
        Arch::Amd64 => command(subcommand)?,
        Arch::Arm64 => debian_command(arch, subcommand)?,
    };
    run(command, package, profile, arguments)
}

/// Builds a package, and gives what cargo says of each part.
fn run(
    mut command: Command,
    package: &str,
    profile: &str,
    arguments: &[&str],
) -> Result<Vec<serde_json::Value>> {
    let output = command
        .args(["--quiet", "--locked", "--profile", profile, "-p", package])
        .args(["--message-format", "json-render-diagnostics"])
        .args(arguments)
        .output()?;
    if !output.status.success() {
        let log = String::from_utf8_lossy(&output.stderr);
        eprint!("{log}");
        let (reason, remedy) = (process::reason(&log), process::remedy(&log));
        return Err(anyhow!("{package}: cannot be built: {reason}; {remedy}"));
    }
    let lines = output.stdout.split(|&byte| byte == b'\n');
    Ok(lines
        .filter_map(|line| serde_json::from_slice(line).ok())
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_as_numbers() {
        assert!(numbers("cargo 1.95.0 (f2d3ce0bd 2026-03-21)") >= numbers("\"1.85\""));
        assert!(numbers("cargo 1.9.0") < numbers("\"1.85\""));
        assert!(numbers("") < numbers("\"1.85\""));
    }
}
