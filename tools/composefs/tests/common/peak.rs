// SPDX-License-Identifier: GPL-2.0-only
//! The command, and how much memory it takes.

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::Duration;

/// Longer than anything takes that comes to an end.
const HANGS: Duration = Duration::from_secs(300);
const PAUSE: Duration = Duration::from_millis(2);

/// What a run printed, and the most memory that it took, in bytes.
pub struct Run {
    pub output: Output,
    pub peak: u64,
}

impl Run {
    /// What it says of why it fails: one line, and not a long one.
    pub fn error(&self) -> String {
        let error = String::from_utf8(self.output.stderr.clone()).expect("text");
        assert_eq!(self.output.status.code(), Some(1), "{error}");
        assert_eq!(error.lines().count(), 1, "{error}");
        assert!(error.len() < 10_000, "{error}");
        let is_plain = |c: char| c == '\n' || !c.is_control();
        assert!(error.chars().all(is_plain), "{error:?}");
        assert!(error.starts_with("composefs: "), "{error}");
        error.trim_end().to_owned()
    }
}

/// Runs the command on a repository.
pub fn run(repository: &Path, arguments: &[&str]) -> Run {
    let mut child = Command::new(env!("CARGO_BIN_EXE_composefs"))
        .arg("--repo")
        .arg(repository)
        .args(arguments)
        .env("CONTAINERS_REGISTRIES_CONF", "/dev/null")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("composefs runs");
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    let mut waited = Duration::ZERO;
    while child.try_wait().expect("child").is_none() {
        // What it took last is known as long as it has not ended.
        let text = fs::read_to_string(&status).unwrap_or_default();
        let field = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = field.and_then(|field| field.trim().trim_end_matches(" kB").parse().ok());
        peak = kib.map_or(peak, |kib: u64| kib << 10);
        thread::sleep(PAUSE);
        waited += PAUSE;
        if waited > HANGS {
            let _ = child.kill();
            panic!("{arguments:?} does not come to an end");
        }
    }
    Run {
        output: child.wait_with_output().expect("output"),
        peak,
    }
}
