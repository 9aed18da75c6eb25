// SPDX-License-Identifier: GPL-2.0-only
//! System calls that have no safe interface in Rust, made by the guest's Python.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdout, Command, Stdio};

use anyhow::{bail, Context, Result};

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

/// A script that answers each line it gets with one.
pub struct Server {
    python: Child,
    answers: BufReader<ChildStdout>,
}

impl Server {
    /// Starts the script, which finds `arguments` in `argument`.
    pub fn start<S: AsRef<OsStr>>(script: &str, arguments: &[S]) -> Result<Self> {
        let mut python = Command::new("python3");
        let mut python = with_script(&mut python, script)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("python3")?;
        let answers = BufReader::new(python.stdout.take().context("python3")?);
        Ok(Self { python, answers })
    }

    /// The answer to a line. An error if the script has ended; it has said why on stderr.
    pub fn ask(&mut self, line: &str) -> Result<String> {
        let requests = self.python.stdin.as_mut().context("python3")?;
        writeln!(requests, "{line}").context("a script has ended")?;
        let mut answer = String::new();
        if self.answers.read_line(&mut answer)? == 0 {
            bail!("a script has ended");
        }
        Ok(answer.trim().to_owned())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.python.stdin.take());
        let _ = self.python.wait();
    }
}
