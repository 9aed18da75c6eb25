// SPDX-License-Identifier: GPL-2.0-only
//! Running other programs.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use anyhow::{bail, ensure, Context, Result};

/// What a program wrote to its standard output, without the last line's end; an error if it failed.
pub fn output(command: &mut Command) -> Result<String> {
    let result = capture(command)?;
    if !result.status.success() {
        bail!(
            "{command:?}: {}: {}",
            result.status,
            String::from_utf8_lossy(&result.stderr).trim_end()
        );
    }
    Ok(String::from_utf8_lossy(&result.stdout)
        .trim_end()
        .to_owned())
}

/// Runs a program to its end, whatever its status.
pub fn capture(command: &mut Command) -> Result<Output> {
    command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("{:?}", command.get_program()))
}

/// Whether a program that must fail fails, and what it says.
pub fn failure(command: &mut Command) -> Result<String> {
    let result = capture(command)?;
    if result.status.success() {
        bail!("{command:?} worked");
    }
    Ok(String::from_utf8_lossy(&result.stderr)
        .trim_end()
        .to_owned())
}

/// The program refuses: its status is 1, and what it says is one line with these words.
pub fn expect_refusal(command: &mut Command, words: &[&str]) -> Result<()> {
    let result = capture(command)?;
    let said = String::from_utf8_lossy(&result.stderr);
    ensure!(result.status.code() == Some(1), "{}: {said}", result.status);
    ensure!(said.lines().count() == 1, "not one line: {said}");
    for word in words {
        ensure!(said.contains(word), "{word:?} is not in {said:?}");
    }
    Ok(())
}

/// A shorthand for `output(Command::new(program).args(args))`.
pub fn run<I, S>(program: impl AsRef<Path>, args: I) -> Result<String>
where
    I: IntoIterator<Item = S>,
    S: AsRef<OsStr>,
{
    output(Command::new(program.as_ref()).args(args))
}

/// A program and its arguments, to be run by a user without any rights.
pub fn as_nobody(arguments: &[&str]) -> Command {
    as_user(65534, arguments)
}

/// The same by a user of this number.
pub fn as_user(user: u32, arguments: &[&str]) -> Command {
    let mut command = Command::new("setpriv");
    command
        .args([format!("--reuid={user}"), format!("--regid={user}")])
        .arg("--clear-groups")
        .args(arguments);
    command
}
