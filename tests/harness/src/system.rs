// SPDX-License-Identifier: GPL-2.0-only
//! Debian systems with our packages, booted as they are: what they are installed from, their disk,
//! and what became of a boot.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::qemu::Qemu;
use crate::tap::{Counts, Report};
use crate::{console, machine, process};

/// Copies those packages in `dir` into /root of the system at `root` whose names are wanted; what
/// they are called there.
pub fn copy_packages(
    dir: &Path,
    root: &Path,
    is_wanted: impl Fn(&str) -> bool,
) -> Result<Vec<String>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir)? {
        let file = entry?.path();
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        if name.ends_with(".deb") && !name.contains("dbgsym") && is_wanted(&name) {
            fs::copy(&file, root.join("root").join(&*name))?;
            files.push(format!("/root/{name}"));
        }
    }
    Ok(files)
}

/// A disk of `size` bytes with fs-verity, with what is in `root`.
pub fn make_disk(image: &Path, size: u64, root: Option<&Path>) -> Result<()> {
    let _ = fs::remove_file(image);
    File::create(image)?.set_len(size)?;
    let mut command = Command::new(machine::programs()?.join("mkfs.ext4"));
    command.args(["-q", "-b", "4096", "-O", "verity"]);
    if let Some(root) = root {
        command.arg("-d").arg(root);
    }
    process::run(command.arg(image))
}

/// What became of a boot.
pub struct Ended {
    pub console: String,
    /// What the test in the system printed.
    pub said: Vec<String>,
    log: PathBuf,
    /// After how long it was stopped, if it took too long.
    stopped: Option<Duration>,
}

/// Boots to the end; or until its console has one of the texts `stops`, after which nothing comes;
/// or for as long as `limit`. The console goes to `log`, what the test in the system prints to `tap`.
pub fn boot(
    mut qemu: Qemu,
    log: &Path,
    tap: &Path,
    limit: Duration,
    stops: &[&str],
) -> Result<Ended> {
    // What an earlier run left would be taken for this one's.
    for file in [log, tap] {
        let _ = fs::remove_file(file);
    }
    qemu.console(log);
    qemu.port("out", tap);
    let mut child = qemu
        .command(&machine::path()?)
        .stdin(Stdio::null())
        .spawn()
        .context("cannot run QEMU")?;
    let began = Instant::now();
    let mut stopped = None;
    while child.try_wait()?.is_none() {
        let has_stopped = !stops.is_empty() && {
            let console = fs::read(log).unwrap_or_default();
            let console = String::from_utf8_lossy(&console);
            stops.iter().any(|text| console.contains(text))
        };
        if has_stopped || began.elapsed() > limit {
            stopped = (!has_stopped).then_some(limit);
            // The rest of the line.
            thread::sleep(Duration::from_secs(2));
            child.kill()?;
        }
        thread::sleep(Duration::from_millis(200));
    }
    let lines = BufReader::new(File::open(tap)?).lines();
    Ok(Ended {
        console: String::from_utf8_lossy(&fs::read(log)?).into_owned(),
        said: lines.collect::<Result<_, _>>()?,
        log: log.to_path_buf(),
        stopped,
    })
}

impl Ended {
    /// The last line on the console that says something.
    pub fn last_line(&self) -> &str {
        let mut lines = self.console.lines().rev().map(str::trim);
        lines.find(|line| !line.is_empty()).unwrap_or_default()
    }

    /// What the test in the system found, which is told; a boot that went wrong is a failure.
    pub fn report(&self, name: &str) -> Counts {
        let mut tell = |line: String| println!("{name}: {line}");
        let mut report = Report::new(&mut tell);
        for line in &self.said {
            report.line(line);
        }
        let mut counts = report.finish();
        let complaints = console::complaints(&self.console);
        let failure = match (self.stopped, complaints.first(), counts.passed) {
            (Some(limit), ..) => Some(format!("was stopped after {} s", limit.as_secs())),
            (_, Some(line), _) => Some(format!("the kernel complained: {line}")),
            (_, None, 0) => Some(format!("did not run its tests: {}", self.last_line())),
            _ => None,
        };
        if let Some(failure) = failure {
            counts += self.failure(name, &failure);
        }
        counts
    }

    /// A failure, which is told.
    pub fn failure(&self, name: &str, failure: &str) -> Counts {
        println!("{name}: FAILED: {failure}; see {}", self.log.display());
        Counts::of(0, 1, 0)
    }
}
