// SPDX-License-Identifier: GPL-2.0-only
//! cargo-deny, which looks at the crates that the userspace side depends on: see `deny.toml`.

use anyhow::{bail, Result};
use std::process::Stdio;

use crate::artifact::Artifact;
use crate::place;
use crate::suite::Suite;
use crate::toolchain::Toolchain;

const VERSION: &str = "0.18.3";

/// Checks licences, sources and versions; advisories would need the network in every run.
pub fn check() -> Result<()> {
    let toolchain = Toolchain::of(Suite::Trixie)?;
    let artifact = Artifact {
        name: "cargo-deny".into(),
        what: format!("cargo-deny {VERSION}"),
        usually: "5 minutes",
        inputs: vec!["1".into(), VERSION.into()],
    };
    let dir = artifact.get(|dir, log| {
        let target = dir.join("target");
        log.run(
            toolchain
                .command(&[dir], "env")?
                .arg(format!("CARGO_TARGET_DIR={}", target.display()))
                .args([
                    "CARGO_PROFILE_RELEASE_OPT_LEVEL=1",
                    "CARGO_PROFILE_RELEASE_LTO=off",
                ])
                .args([
                    "CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16",
                    "nice",
                    "cargo",
                    "install",
                    "cargo-deny",
                ])
                .args([
                    "--version",
                    VERSION,
                    "--locked",
                    "--no-default-features",
                    "--root",
                ])
                .arg(dir),
        )?;
        Ok(std::fs::remove_dir_all(target)?)
    })?;
    let status = toolchain
        .command(&[], "env")?
        .arg(format!("PATH={}/bin:/usr/bin:/bin", dir.display()))
        .args([
            "cargo", "deny", "--locked", "check", "licenses", "bans", "sources",
        ])
        .current_dir(place::checkout(""))
        .stdin(Stdio::null())
        .status()?;
    if !status.success() {
        bail!("cargo-deny: see above");
    }
    Ok(())
}
