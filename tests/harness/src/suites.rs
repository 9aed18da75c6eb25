// SPDX-License-Identifier: GPL-2.0-only
//! All tests: static checks, those on the host, the build as a part of a kernel tree, and the
//! programs in guests.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{bail, Context, Result};
use clap::{Args, ValueEnum};

use crate::jobs::{self, Jobs};
use crate::kernel::Kernel;
use crate::process::Log;
use crate::suite::Suite;
use crate::tap::{Counts, Report};
use crate::{
    cargo, containers, guest, libtest, machine, note, overlay, payload, peers, place, qemu, vm,
};

/// Where all that failed stands again, below the directory of logs.
const FAILURES: &str = "failures";

/// Runs the tests: on the host, and in guests
///
/// Without options, all: the static checks, the tests of the Rust crates on the host, the build as
/// a part of a kernel tree, the test programs in a guest on the newest stock kernel, and some of
/// them on the oldest one that is supported.
///
/// Prints what failed, what was skipped and why; at the end, all failures once more, and one line
/// of counts. Whole outputs are in build/test. Fails on any failure, also on test programs that do not keep to their plan, a
/// kernel that complains, and a guest that hangs.
#[derive(Args)]
pub struct Options {
    /// Only the static checks (see scripts/lint)
    #[arg(long, conflicts_with_all = ["host", "tree", "guest", "suite"])]
    lint: bool,
    /// Only those on the host
    #[arg(long, conflicts_with_all = ["tree", "guest", "suite"])]
    host: bool,
    /// Only the build as a part of a kernel tree (see scripts/into-tree)
    #[arg(long, conflicts_with_all = ["guest", "suite"])]
    tree: bool,
    /// Only those in a guest; PROGRAMs narrow them down
    #[arg(long)]
    guest: bool,
    /// Whose kernel the guest runs, and nothing else [default: trixie]
    #[arg(long)]
    suite: Option<Suite>,
    /// With this module, instead of one built here
    #[arg(long, value_name = "FILE", requires = "guest")]
    module: Option<PathBuf>,
    /// By this program itself: these parts, for which counts go to a file
    #[arg(long, hide = true, value_delimiter = ',')]
    parts: Vec<Part>,
    #[arg(long, hide = true)]
    counts: Option<PathBuf>,
    /// Test programs, `*` for any characters (t_read, 't_m*'), with arguments ('t_kills 200')
    #[arg(value_name = "PROGRAM")]
    programs: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    Lint,
    Tree,
    Host,
    Guest,
    Older,
}

/// The emulated guest keeps one processor busy, and the rest another.
const LANES: [&str; 2] = ["lint,tree,host,older", "guest"];

/// What the older kernel is tried with: it differs in what the driver is built on, and what that
/// does shows here.
const OLDER: &[&str] = &[
    "t_read",
    "t_readdir",
    "t_metadata",
    "t_files",
    "t_object_errors",
    "t_mount_options",
];

/// What the kernel that looks for its own bugs is tried with: all but what makes an image of a
/// whole system, which takes long there; and damaged images, allocations that fail, and everything
/// at once.
const DEBUG: &[&str] = &["alloc_faults", "t_[!cdew]*", "fuzz_images", "stress"];

/// A run of tests, and what came out so far.
struct Run {
    logs: PathBuf,
    counts: Counts,
}

/// Runs what was asked for; whether nothing failed.
pub fn run(options: &Options) -> Result<bool> {
    let logs = place::build("test/x")?.with_file_name("");
    if options.counts.is_none() {
        let _ = fs::remove_dir_all(&logs);
    }
    fs::create_dir_all(&logs)?;
    let mut run = Run {
        logs,
        counts: Counts::default(),
    };
    let result = run.parts(options);
    if let Err(error) = &result {
        let reason = format!("{error:#}");
        run.tell(&format!("test: FAILED: {reason}"));
        jobs::note_failure(&reason);
        run.counts += Counts::of(0, 1, 0);
    }
    if let Some(file) = &options.counts {
        let Counts {
            passed,
            failed,
            skipped,
        } = run.counts;
        let mut file = OpenOptions::new().append(true).create(true).open(file)?;
        writeln!(file, "{passed} {failed} {skipped}")?;
        // The others go on after a test that failed, but not after this.
        return Ok(result.is_ok());
    }
    for line in run.failures().lines() {
        println!("{line}");
    }
    println!("{}", run.counts);
    Ok(run.counts.is_good())
}

impl Run {
    /// Prints a line, and keeps it for the end if it says what failed.
    fn tell(&self, line: &str) {
        println!("{line}");
        if line.contains(": FAILED: ") {
            // It is on the screen already; the list is only a help.
            let _ = OpenOptions::new()
                .append(true)
                .create(true)
                .open(self.logs.join(FAILURES))
                .and_then(|mut file| writeln!(file, "{line}"));
        }
    }

    /// What failed, a line each.
    fn failures(&self) -> String {
        fs::read_to_string(self.logs.join(FAILURES)).unwrap_or_default()
    }

    fn parts(&mut self, options: &Options) -> Result<()> {
        let suite = options.suite.unwrap_or(Suite::Trixie);
        let programs: Vec<&str> = match (options.programs.as_slice(), suite) {
            ([], Suite::Debug) => DEBUG.to_vec(),
            ([], _) => vec!["t_*"],
            (programs, _) => programs.iter().map(String::as_str).collect(),
        };
        let parts = if !options.parts.is_empty() {
            options.parts.clone()
        } else if options.lint {
            vec![Part::Lint]
        } else if options.host {
            vec![Part::Host]
        } else if options.tree {
            vec![Part::Tree]
        } else if options.guest || options.suite.is_some() {
            vec![Part::Guest]
        } else if options.programs.is_empty() {
            return self.all();
        } else {
            bail!("PROGRAM is for --guest");
        };
        for part in parts {
            self.counts += match part {
                Part::Lint => self.lint()?,
                Part::Tree => self.tree()?,
                Part::Host => self.host()?,
                Part::Guest => self.guest(suite, &programs, options.module.clone())?,
                Part::Older => self.guest(Suite::Forky, OLDER, None)?,
            };
        }
        Ok(())
    }

    /// What everything needs is made first; what is needed late, beside the rest.
    fn all(&mut self) -> Result<()> {
        let mut jobs = Jobs::new()?;
        jobs.start(&["machine", "path"], false)?;
        jobs.start(&["guest", "root"], false)?;
        jobs.start(&["kernel", "path"], false)?;
        jobs.wait()?;

        let counts = self.logs.join("counts");
        let file = counts
            .to_str()
            .context("the path of the checkout is not text")?;
        let mut jobs = Jobs::new()?;
        jobs.start(&["kernel", "--suite", "forky", "path"], false)?;
        jobs.start(&["guest", "containers"], false)?;
        for lane in LANES {
            jobs.start(&["test", "--parts", lane, "--counts", file], true)?;
        }
        let result = jobs.wait();
        for line in fs::read_to_string(&counts).unwrap_or_default().lines() {
            let counted: Vec<u64> = line.split(' ').filter_map(|n| n.parse().ok()).collect();
            if let [passed, failed, skipped] = counted[..] {
                self.counts += Counts::of(passed, failed, skipped);
            }
        }
        result
    }

    fn lint(&self) -> Result<Counts> {
        note!("static checks: running (usually 3 minutes)");
        let log = Log::create(self.logs.join("lint.log"))?;
        let result = log.run(&mut Command::new(place::checkout("scripts/lint")));
        let text = log.text();
        let steps = text.lines().filter_map(|line| line.strip_prefix("lint: "));
        let (bad, steps): (Vec<_>, Vec<_>) = steps.partition(|step| step.ends_with(": FAILED"));
        for step in &bad {
            self.tell(&format!(
                "lint: FAILED: {}; see build/test/lint.log",
                step.trim_end_matches(": FAILED")
            ));
        }
        let mut failed = bad.len() as u64;
        if let (Err(error), 0) = (result, failed) {
            self.tell(&format!("lint: FAILED: {error:#}; see build/test/lint.log"));
            failed = 1;
        }
        let passed = (steps.len() as u64).saturating_sub(failed);
        println!("lint: {passed} passed, {failed} failed");
        Ok(Counts::of(passed, failed, 0))
    }

    fn tree(&self) -> Result<Counts> {
        note!("kernel tree: building as a part of it (usually 1 minute)");
        let log = Log::create(self.logs.join("tree.log"))?;
        match overlay::build_in_tree(&log) {
            Ok(()) => {
                println!("tree: builds as a part of the kernel, =m and =y");
                Ok(Counts::of(1, 0, 0))
            }
            Err(error) => {
                let reason = crate::process::reason(&log.text());
                self.tell(&format!(
                    "tree: FAILED: {error:#}: {reason}; see build/test/tree.log"
                ));
                Ok(Counts::of(0, 1, 0))
            }
        }
    }

    fn host(&self) -> Result<Counts> {
        let mut skipped = Counts::default();
        let mut arguments = vec!["--include-ignored"];
        let c_tools = peers::composefs_c()?;
        std::env::set_var("COMPOSEFS_C_TOOLS", c_tools);
        let library = place::build("capi/libcomposefs.so.1")?;
        fs::copy(cargo::c_library("composefs-capi", "release")?, &library)?;
        std::env::set_var("COMPOSEFS_CAPI", library.with_file_name(""));
        match peers::composefs_rs() {
            Ok(peers) => std::env::set_var("COMPOSEFS_RS_TOOLS", peers.join("host")),
            Err(error) => {
                println!("host: SKIPPED: comparison with composefs-rs: {error:#}");
                skipped = Counts::of(0, 0, 1);
                arguments.extend(["--skip", "of_composefs_rs"]);
            }
        }
        if std::env::var_os("COMPOSEFS_DOCKER_REGISTRY").is_none() {
            println!("host: SKIPPED: docker-registry: COMPOSEFS_DOCKER_REGISTRY does not say where it is");
            skipped += Counts::of(0, 0, 1);
            arguments.extend(["--skip", "in_a_docker_registry"]);
        }
        note!("host tests: building and running (usually 5 minutes at first, then 2)");
        let log = Log::create(self.logs.join("host.log"))?;
        let mut tests = cargo::command("test")?;
        tests
            .args(["--workspace", "--locked", "--no-fail-fast", "--"])
            .args(arguments)
            .env("PATH", machine::path()?);
        let result = log.run(&mut tests);
        let (mut counts, told) = libtest::results(&log.text());
        for line in told {
            self.tell(&line);
        }
        if let (Err(error), 0) = (result, counts.failed) {
            self.tell(&format!("host: FAILED: {error:#}; see build/test/host.log"));
            counts.failed = 1;
        }
        counts += skipped;
        println!("host: {counts}");
        Ok(counts)
    }

    /// The programs that match any of the patterns, on that suite's kernel.
    fn guest(&self, suite: Suite, patterns: &[&str], module: Option<PathBuf>) -> Result<Counts> {
        let logs = self.logs.join(suite.name());
        fs::create_dir_all(&logs)?;
        let payload = logs.join("payload");
        guest::root_image()?;
        payload::make(&payload::Options {
            tests: true,
            bench: false,
            suite,
            module,
            part: None,
            dir: payload.clone(),
        })?;
        let programs = matching(&payload.join("tests"), patterns)?;
        if programs.is_empty() {
            bail!("no test program {}", patterns.join(" "));
        }
        let kernel = Kernel::of(suite)?.release;
        let usually = if programs.len() > 8 {
            "12 minutes"
        } else {
            "2 minutes"
        };
        note!("guest tests: running on {kernel} (usually {usually})");

        // For one program, and for the whole guest, in seconds. Who gives numbers gives large ones.
        let has_numbers = programs.iter().any(|name| name.contains(' '));
        let (limit, whole) = match suite {
            _ if has_numbers => (10_800, 21_600),
            Suite::Debug => (3600, 10_800),
            _ => (900, 3600),
        };
        // What needs the programs there is skipped without: they take too long in that kernel.
        let disks = match suite {
            Suite::Debug => Vec::new(),
            _ => vec![format!("{}:ro", containers::disk()?.display())],
        };
        let mut command = vec!["/opt/composefs/run-tests".into(), limit.to_string().into()];
        let path = |name: &String| format!("/opt/composefs/tests/{name}").into();
        command.extend(programs.iter().map(path));
        let options = vm::Options {
            payload: Some(payload.clone()),
            timeout: Some(whole),
            machine: qemu::Machine {
                memory: "3G".into(),
                blank_disk: vec![4 << 30],
                disks,
                ..Default::default()
            },
            suite,
            log: Some(logs.join("console.log")),
        };
        let mut tap = File::create(logs.join("guest.tap"))?;
        let mut tell = |line: String| self.tell(&line);
        let mut report = Report::new(&mut tell);
        let status = {
            let mut take = |line: &[u8]| {
                let _ = tap.write_all(line);
                report.line(String::from_utf8_lossy(line).trim_end_matches('\n'));
            };
            vm::run(&options, &vm::Program::Command(command), &mut take)?
        };
        let mut counts = report.finish();
        fs::remove_dir_all(payload)?;
        println!("guest: {counts} on {kernel}");
        if status != 0 {
            self.tell(&format!(
                "guest: FAILED: status {status}: see above, and build/test/{suite}/console.log"
            ));
            counts.failed += 1;
        }
        Ok(counts)
    }
}

/// The names in a directory that match any of the patterns, in their order, each with what follows
/// a blank in its pattern.
fn matching(dir: &Path, patterns: &[&str]) -> Result<Vec<String>> {
    let mut programs = Vec::new();
    for entry in fs::read_dir(dir)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        let fitting = |pattern: &&str| {
            let end = pattern.find(' ').unwrap_or(pattern.len());
            let (pattern, arguments) = pattern.split_at(end);
            matches(&name, pattern).then(|| format!("{name}{arguments}"))
        };
        programs.extend(patterns.iter().find_map(fitting));
    }
    programs.sort();
    Ok(programs)
}

/// Whether a name matches a pattern with `*`, and `[!x]` for any character but those.
fn matches(name: &str, pattern: &str) -> bool {
    if let Some(rest) = pattern.strip_prefix('*') {
        let mut tails = name.char_indices().map(|(at, _)| at).chain([name.len()]);
        return tails.any(|at| name.get(at..).is_some_and(|tail| matches(tail, rest)));
    }
    if let Some((but, rest)) = pattern
        .strip_prefix("[!")
        .and_then(|rest| rest.split_once(']'))
    {
        let mut tail = name.chars();
        return tail.next().is_some_and(|first| !but.contains(first))
            && matches(tail.as_str(), rest);
    }
    match (pattern.chars().next(), name.chars().next()) {
        (None, None) => true,
        (Some(a), Some(b)) if a == b => {
            let behind = |text: &str| text.get(a.len_utf8()..).unwrap_or_default().to_owned();
            matches(&behind(name), &behind(pattern))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_names() {
        assert!(
            matches("t_read", "t_read") && matches("t_read", "t_*") && matches("t_mounts", "t_m*s")
        );
        assert!(!matches("t_readdir", "t_read") && !matches("alloc", "t_*"));
        assert!(matches("t_files", "t_[!cdew]*") && !matches("t_compare", "t_[!cdew]*"));
    }
}
