// SPDX-License-Identifier: GPL-2.0-only
//! cargo-deny, which looks at the crates that the userspace side depends on: see `deny.toml`.

use std::process::Stdio;

use anyhow::{bail, Result};

use crate::crate_tool::CrateTool;
use crate::suite::Suite;
use crate::toolchain::Toolchain;

const CARGO_DENY: CrateTool = CrateTool {
    name: "cargo-deny",
    version: "0.18.3",
    features: &["--no-default-features"],
    usually: "5 minutes",
};

/// Checks licences, sources and versions; advisories would need the network in every run.
pub fn check() -> Result<()> {
    let status = CARGO_DENY
        .cargo(&Toolchain::of(Suite::Trixie)?, &[])?
        .args(["deny", "--locked", "check", "licenses", "bans", "sources"])
        .stdin(Stdio::null())
        .status()?;
    if !status.success() {
        bail!("cargo-deny: see above");
    }
    Ok(())
}
