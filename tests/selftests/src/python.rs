// SPDX-License-Identifier: GPL-2.0-only
//! System calls that have no safe interface in Rust, made by the guest's Python.

use std::ffi::OsStr;
use std::process::Command;

use anyhow::{bail, Result};

use crate::command::{as_user, capture};

/// What scripts have at hand: `call()` for functions of the C library, which raises `OSError` where
/// they return -1, and `fails()` for what must.
const PRELUDE: &str = include_str!("../python/prelude.py");

/// Runs a script, which finds `arguments` in `argument`; what it prints, or an error with the
/// exception that ended it.
pub fn run<S: AsRef<OsStr>>(script: &str, arguments: &[S]) -> Result<String> {
    let mut python = Command::new("python3");
    output(with_script(&mut python, script).args(arguments))
}

/// A script to be run by a user who is not root; arguments are to be added.
pub fn command_as(user: u32, script: &str) -> Command {
    let mut python = as_user(user, &["python3"]);
    with_script(&mut python, script);
    python
}

fn with_script<'a>(python: &'a mut Command, script: &str) -> &'a mut Command {
    python.args(["-I", "-c", &format!("{PRELUDE}{script}")])
}

/// What a script prints, or an error with the exception that ended it.
pub fn output(python: &mut Command) -> Result<String> {
    let result = capture(python)?;
    if !result.status.success() {
        bail!("{}", String::from_utf8_lossy(&result.stderr).trim_end());
    }
    let printed = String::from_utf8_lossy(&result.stdout);
    Ok(printed.trim_end().to_owned())
}
