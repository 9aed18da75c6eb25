// SPDX-License-Identifier: GPL-2.0-only
//! The README's commands, as somebody runs them whose machine has never seen this.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};

use crate::artifact::remove_tree;
use crate::process::{self, ending, Log};
use crate::{apt, note, place, root, vm};

/// Runs the README's commands in minimal Debian systems, each with an empty cache
///
/// A system has the packages that are essential, apt, and what the README names. It is in the cache
/// while it runs, 20 GB at most, and gone afterwards; what it printed is in build/fresh.
#[derive(Args)]
pub struct Options {
    /// One of the README's commands instead of both
    #[arg(long)]
    only: Option<Target>,
    /// All of them, one by one, if none is named
    systems: Vec<System>,
}

#[derive(Clone, Copy, ValueEnum)]
enum System {
    Bookworm,
    Trixie,
    Forky,
}

#[derive(Clone, Copy, ValueEnum)]
enum Target {
    Demo,
    Test,
}

/// What the README asks for.
const NAMED: &str = "git,make";

/// Runs them; whether none failed.
pub fn run(options: &Options) -> Result<bool> {
    root::need_root("making a system")?;
    let systems = match options.systems.as_slice() {
        [] => System::value_variants(),
        some => some,
    };
    let targets = match &options.only {
        Some(only) => std::slice::from_ref(only),
        None => Target::value_variants(),
    };
    let mut failed = 0;
    for &system in systems {
        if !run_in(system, targets)? {
            failed += 1;
        }
    }
    println!("{} passed, {failed} failed", systems.len() - failed);
    Ok(failed == 0)
}

/// The name of a system or target.
fn name(value: &impl ValueEnum) -> String {
    value
        .to_possible_value()
        .map(|value| value.get_name().to_owned())
        .unwrap_or_default()
}

fn run_in(system: System, targets: &[Target]) -> Result<bool> {
    let system = name(&system);
    let run = vm::RunDirectory::new()?;
    let fresh = Fresh(run.path("system"));
    let log = Log::create(place::build(&format!("fresh/{system}.log"))?)?;

    note!("{system}: making a minimal system (usually 20 seconds)");
    fresh
        .make(&system, &log)
        .with_context(|| format!("{system}: cannot be made; see {}", log.path().display()))?;
    let before = fresh.packages()?;
    let mut is_good = true;
    for target in targets {
        is_good &= fresh.make_target(&system, &name(target))?;
    }
    let after = fresh.packages()?;

    for gone in before.difference(&after) {
        println!("{system}: was removed or changed: {gone}");
        is_good = false;
    }
    let added = after.difference(&before).count();
    println!("{system}: packages added: {added}");
    remove_tree(&fresh.0)?;
    Ok(is_good)
}

/// A system, by its root directory.
struct Fresh(PathBuf);

impl Fresh {
    fn make(&self, system: &str, log: &Log) -> Result<()> {
        let mut mmdebstrap = Command::new("mmdebstrap");
        mmdebstrap
            .args(["--mode=root", "--variant=minbase"])
            .arg(format!("--include={NAMED}"))
            .arg("--aptopt=Acquire::Check-Valid-Until \"false\"")
            .arg(system)
            .arg(&self.0)
            .arg(apt::mirror()?);
        log.run(&mut mmdebstrap)?;

        // What a machine has of its own: a network, and whom it trusts.
        for file in [
            "/etc/resolv.conf",
            "/etc/hosts",
            "/etc/ssl/certs/ca-certificates.crt",
        ] {
            let to = self.0.join(file.trim_start_matches('/'));
            if Path::new(file).exists() {
                fs::create_dir_all(to.parent().unwrap_or(&to))?;
                let _ = fs::remove_file(&to);
                fs::copy(file, to)?;
            }
        }
        log.run(
            Command::new("git")
                .args(["clone", "-q"])
                .arg(place::checkout("").canonicalize()?)
                .arg(self.0.join("root/composefs-in-rust")),
        )
    }

    /// A command in the system.
    fn command(&self, program: &[&str]) -> Command {
        let mut command = Command::new("unshare");
        command
            .args(["--mount", "--pid", "--fork", "--kill-child"])
            .args(["--propagation", "private"])
            .arg(place::checkout("scripts/lib/enter-system"))
            .arg(&self.0)
            .args(program)
            .stdin(Stdio::null());
        command
    }

    /// The packages that it has, with their versions.
    fn packages(&self) -> Result<BTreeSet<String>> {
        let list = process::output(&mut self.command(&["dpkg-query", "-W"]))?;
        Ok(list.lines().map(str::to_owned).collect())
    }

    /// Runs one of the README's commands; whether it did not fail.
    fn make_target(&self, system: &str, target: &str) -> Result<bool> {
        note!("{system}: make {target}");
        let path = place::build(&format!("fresh/{system}.log.{target}"))?;
        let log = File::create(&path)?;
        let began = Instant::now();
        let status = self
            .command(&["make", "-C", "/root/composefs-in-rust", target])
            .stdout(log.try_clone()?)
            .stderr(log)
            .status()?;
        let printed = String::from_utf8_lossy(&fs::read(&path)?).into_owned();
        println!(
            "{system}: make {target}: {}, {}: {}",
            minutes(began.elapsed()),
            ending(status),
            last_line(&printed)
        );
        Ok(status.success())
    }
}

fn minutes(time: Duration) -> String {
    format!("{} min {} s", time.as_secs() / 60, time.as_secs() % 60)
}

/// The last line that is not make's own.
fn last_line(printed: &str) -> &str {
    let is_ours = |line: &&str| !line.trim().is_empty() && !line.starts_with("make");
    printed.lines().rfind(is_ours).unwrap_or("printed nothing")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_is_not_makes() {
        let printed =
            "1 passed\n\nmake: *** [Makefile:41: demo] Error 1\nmake: Leaving directory '/'\n";
        assert_eq!(last_line(printed), "1 passed");
        assert_eq!(last_line(""), "printed nothing");
    }

    #[test]
    fn times_are_in_minutes() {
        assert_eq!(minutes(Duration::from_secs(233)), "3 min 53 s");
    }
}
