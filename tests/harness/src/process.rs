// SPDX-License-Identifier: GPL-2.0-only
//! Running other programs.

use std::fs::File;
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

use anyhow::{bail, Context, Result};

/// Says what is going on. Results go to stdout, and all else to stderr.
#[macro_export]
macro_rules! note {
    ($($arg:tt)*) => { eprintln!($($arg)*) };
}

/// A program by its name.
fn name(command: &Command) -> String {
    Path::new(command.get_program())
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

/// How a program ended, in words.
pub fn ending(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit status {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "no status".into(),
    }
}

/// Runs a command with the standard streams of this process, less the input.
pub fn run(command: &mut Command) -> Result<()> {
    let status = command
        .stdin(Stdio::null())
        .status()
        .with_context(|| format!("cannot run {}", name(command)))?;
    if !status.success() {
        bail!("{}: {}", name(command), ending(status));
    }
    Ok(())
}

/// Runs a command and gives what it prints, without the end of the last line.
pub fn output(command: &mut Command) -> Result<String> {
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("cannot run {}", name(command)))?;
    if !output.status.success() {
        bail!("{}: {}", name(command), ending(output.status));
    }
    let text = String::from_utf8(output.stdout)
        .with_context(|| format!("{} printed something that is not text", name(command)))?;
    Ok(text.trim_end_matches('\n').to_owned())
}

/// A file that takes what programs print while something is made.
pub struct Log {
    path: PathBuf,
    file: File,
}

impl Log {
    /// A new, empty one.
    pub fn create(path: PathBuf) -> Result<Self> {
        let file = File::options()
            .append(true)
            .create(true)
            .open(&path)
            .with_context(|| format!("cannot write to {}", path.display()))?;
        file.set_len(0)?;
        Ok(Self { path, file })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Adds a line.
    pub fn line(&self, text: &str) -> Result<()> {
        Ok(writeln!(&self.file, "{text}")?)
    }

    /// Runs a command that prints to the log.
    pub fn run(&self, command: &mut Command) -> Result<()> {
        let status = command
            .stdin(Stdio::null())
            .stdout(self.file.try_clone()?)
            .stderr(self.file.try_clone()?)
            .status()
            .with_context(|| format!("cannot run {}", name(command)))?;
        if !status.success() {
            bail!("{}: {}", name(command), ending(status));
        }
        Ok(())
    }

    /// All that is in it.
    pub fn text(&self) -> String {
        let bytes = std::fs::read(&self.path).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

/// The line of `log` that says best why something failed.
pub fn reason(log: &str) -> String {
    let is_error = |line: &&str| {
        ["error: ", "Error: ", "E: ", "fatal: ", "No space left"]
            .iter()
            .any(|sign| {
                line.find(sign).is_some_and(|at| {
                    let before = line.get(..at).and_then(|text| text.chars().last());
                    before.is_none_or(|c| !c.is_alphanumeric())
                })
            })
    };
    let lines = || log.lines().map(str::trim).filter(|line| !line.is_empty());
    let line = lines().rfind(is_error).or_else(|| lines().next_back());
    line.unwrap_or("it said nothing")
        .chars()
        .take(200)
        .collect()
}

/// What to do about it.
pub fn remedy(log: &str) -> &'static str {
    let has = |signs: &[&str]| signs.iter().any(|sign| log.contains(sign));
    if has(&["No space left on device"]) {
        "free some space, or set COMPOSEFS_CACHE to a directory with more, and run this again"
    } else if has(&[
        "Could not resolve",
        "Could not connect",
        "Temporary failure resolving",
        "Connection failed",
        "Connection timed out",
        "Connection refused",
        "Failed to fetch",
    ]) {
        "check the network and the mirror in apt's sources (COMPOSEFS_MIRROR names another), then run this \
         again: what is done is kept"
    } else if has(&["Operation not permitted", "Permission denied"]) {
        "run this as root, on a machine or in a container that may mount and chroot"
    } else {
        "run this again: what is done is kept"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_error_is_the_reason() {
        let log = "Get:1 trixie\nE: Failed to fetch a\nE: Unable to locate package b\nI: done\n";
        assert_eq!(reason(log), "E: Unable to locate package b");
        assert_eq!(reason("one\n two \n\n"), "two");
        assert_eq!(reason(""), "it said nothing");
        // Not every word that ends so.
        assert_eq!(reason("MACHINE: x\nlast"), "last");
    }

    #[test]
    fn a_full_disk_has_a_remedy() {
        assert!(remedy("tar: x: Cannot write: No space left on device").starts_with("free some"));
        assert!(remedy("E: Failed to fetch").starts_with("check the network"));
        assert!(remedy("whatever").starts_with("run this again"));
    }
}
