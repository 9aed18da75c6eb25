// SPDX-License-Identifier: GPL-2.0-only
//! cargo's commands that come as crates: compiled once, with trixie's compiler.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use crate::artifact::Artifact;
use crate::place;
use crate::toolchain::Toolchain;

/// A crate with a program of the same name.
pub struct CrateTool {
    pub name: &'static str,
    pub version: &'static str,
    /// Arguments of `cargo install`.
    pub features: &'static [&'static str],
    pub usually: &'static str,
}

impl CrateTool {
    /// `env NAME=VALUE... cargo` in a toolchain root of trixie's, where cargo knows the tool; `variables`
    /// are for what it runs, and a command that is to run cargo may follow them.
    pub fn cargo(&self, toolchain: &Toolchain, variables: &[String]) -> Result<Command> {
        let dir = self.made(toolchain)?;
        let mut command = toolchain.command(&[], "env")?;
        command
            .arg(format!("PATH={}/bin:/usr/bin:/bin", dir.display()))
            .args(variables)
            .arg("cargo")
            .current_dir(place::checkout(""));
        Ok(command)
    }

    fn made(&self, toolchain: &Toolchain) -> Result<PathBuf> {
        let Self { name, version, .. } = self;
        let artifact = Artifact {
            name: (*name).into(),
            what: format!("{name} {version}"),
            usually: self.usually,
            inputs: vec!["1".into(), (*version).into()],
        };
        artifact.get(|dir, log| {
            let target = dir.join("target");
            let mut install = toolchain.command(&[dir], "env")?;
            install
                .arg(format!("CARGO_TARGET_DIR={}", target.display()))
                .args([
                    "CARGO_PROFILE_RELEASE_OPT_LEVEL=1",
                    "CARGO_PROFILE_RELEASE_LTO=off",
                    "CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16",
                ])
                .args(["nice", "cargo", "install", name, "--version", version])
                .args(self.features)
                .args(["--locked", "--root"])
                .arg(dir);
            log.run(&mut install)?;
            Ok(fs::remove_dir_all(target)?)
        })
    }
}
