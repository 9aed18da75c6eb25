// SPDX-License-Identifier: GPL-2.0-only
//! File handles of mounted images, made, opened, and made up. Python has the system calls.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use anyhow::{Context, Result};

/// One process, which serves all images.
pub struct Handles {
    python: Child,
    answers: BufReader<ChildStdout>,
}

const SCRIPT: &str = include_str!("../python/handle_server.py");

impl Handles {
    pub fn start() -> Result<Self> {
        let mut python = Command::new("python3")
            .args(["-I", "-c", SCRIPT])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("python3")?;
        let answers = BufReader::new(python.stdout.take().context("python3")?);
        Ok(Self { python, answers })
    }

    /// Tries those of the image that is mounted at `root`, and some that depend on `seed`. Gives for
    /// how many names there is a handle.
    pub fn try_all(&mut self, root: &Path, seed: u64) -> Result<usize> {
        let requests = self.python.stdin.as_mut().context("python3")?;
        writeln!(requests, "{seed} {}", root.display())?;
        let mut answer = String::new();
        self.answers.read_line(&mut answer)?;
        answer.trim().parse().context("file handles")
    }
}

impl Drop for Handles {
    fn drop(&mut self) {
        drop(self.python.stdin.take());
        let _ = self.python.wait();
    }
}
