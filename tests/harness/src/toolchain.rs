// SPDX-License-Identifier: GPL-2.0-only
//! The compilers that a suite's kernel was built with.
//!
//! A Rust module only fits a kernel if the very same rustc built both, so the suite's own is used,
//! in a root of its own. On a host that is the suite and has all of these packages, it is the
//! host's.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use crate::arch::Arch;
use crate::artifact::Artifact;
use crate::process;
use crate::root::{self, Variant};
use crate::suite::Suite;
use crate::versions;

pub const PACKAGES: &[&str] = &[
    "gcc",
    "libc6-dev",
    "libcurl4-gnutls-dev",
    "make",
    "rustc",
    "rust-src",
    "rustfmt",
    "rust-clippy",
    "cargo",
    "bindgen",
    "bc",
    "flex",
    "bison",
    "libelf-dev",
    "libssl-dev",
    "pkgconf",
    "dwarves",
    "kmod",
    "cpio",
    "rsync",
    "perl",
    "python3",
    "openssl",
    "zstd",
    "xz-utils",
    "ca-certificates",
];

/// What compiles for arm64, in addition.
const FOR_ARM64: &[&str] = &[
    "gcc-aarch64-linux-gnu",
    "libc6-dev:arm64",
    "libcurl4-gnutls-dev:arm64",
    "libstd-rust-dev:arm64",
];

/// What compiles the debug kernel, in addition.
pub const CLANG: &[&str] = &["clang", "lld", "llvm"];

/// A suite's compilers.
pub struct Toolchain {
    /// None for the host's own.
    root: Option<PathBuf>,
}

impl Toolchain {
    /// Made first, if need be.
    pub fn of(suite: Suite) -> Result<Self> {
        let (suite, arch) = (suite.debian(), suite.arch());
        if arch == Arch::Arm64 {
            return Self::with(suite, "toolchain-arm64", FOR_ARM64);
        }
        if host_is(suite) {
            return Ok(Self { root: None });
        }
        Self::in_root(suite, &format!("toolchain-{suite}"), PACKAGES)
    }

    /// Trixie's, with clang and lld.
    pub fn clang() -> Result<Self> {
        Self::with(Suite::Trixie, "toolchain-clang", CLANG)
    }

    /// With more packages, in a root called NAME-SUITE.
    pub fn with(suite: Suite, name: &str, more: &[&str]) -> Result<Self> {
        let packages = [PACKAGES, more].concat();
        Self::in_root(suite, &format!("{name}-{suite}"), &packages)
    }

    fn in_root(suite: Suite, name: &str, packages: &[&str]) -> Result<Self> {
        let root = versions::with(suite, |versions| {
            let artifact = Artifact {
                name: name.into(),
                what: format!("toolchain root (Debian {suite})"),
                usually: "2 minutes",
                inputs: [vec!["1".into()], versions.of(packages)].concat(),
            };
            artifact.get(|dir, log| {
                let without = root::NO_DOCUMENTATION;
                root::make(dir, suite, Variant::Apt, packages, without, log)
            })
        })?;
        Ok(Self { root: Some(root) })
    }

    /// Where it is.
    pub fn root(&self) -> &Path {
        self.root.as_deref().unwrap_or(Path::new("/"))
    }

    /// `program`, run with it; `binds` are directories that it is to see.
    pub fn command(&self, binds: &[&Path], program: &str) -> Result<Command> {
        let mut command = match &self.root {
            Some(root) => root::enter(root, binds)?,
            None => {
                // `env` is run by `env`, as there is no other program to begin with.
                let mut command = Command::new("env");
                root::clean_environment(&mut command);
                command
            }
        };
        command.arg(program);
        Ok(command)
    }
}

/// Whether the host is that suite, with all of the packages; nothing is installed to make it so.
fn host_is(suite: Suite) -> bool {
    let release = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    let says = |line: &str| release.lines().any(|have| have.replace('"', "") == line);
    if !says("ID=debian") || !says(&format!("VERSION_CODENAME={suite}")) {
        return false;
    }
    let mut query = Command::new("dpkg-query");
    query
        .args(["-W", "-f", "${db:Status-Status}\\n"])
        .args(PACKAGES);
    process::output(query.stderr(std::process::Stdio::null()))
        .is_ok_and(|states| states.lines().all(|state| state == "installed"))
}
