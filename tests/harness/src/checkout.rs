// SPDX-License-Identifier: GPL-2.0-only
//! Copies of the checkout.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::Result;

use crate::{place, process};

/// Copies what git knows of to a directory, which is made.
pub fn copy(to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    let copy = "git ls-files -z | xargs -0 cp -P --parents -t \"$1\"";
    let mut shell = Command::new("bash");
    shell.args(["-euo", "pipefail", "-c", copy, "copy"]).arg(to);
    process::run(shell.current_dir(place::checkout("").canonicalize()?))
}
