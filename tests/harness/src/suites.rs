// SPDX-License-Identifier: GPL-2.0-only
//! All tests: static checks, those on the host, the build as a part of a kernel tree, and the
//! programs in guests (see `programs`).

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{bail, Context, Result};
use clap::{Args, ValueEnum};

use crate::arch::Arch;
use crate::jobs::{self, Jobs};
use crate::kernel::Kernel;
use crate::process::Log;
use crate::programs::{Guest, LARGE, TOOLS};
use crate::suite::Suite;
use crate::tap::Counts;
use crate::{cargo, forms, libtest, machine, note, others, overlay, peers, place, short};

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
    /// Only large images, from registries to mounts: on the host and in a guest (hours)
    #[arg(long, conflicts_with_all = ["lint", "host", "tree", "guest", "suite"])]
    images: bool,
    /// Whose kernel the guest runs, and nothing else [default: trixie]
    #[arg(long)]
    suite: Option<Suite>,
    /// Also say how much of the driver's code the tests came by; which of it they did not is in
    /// build/test/coverage
    #[arg(long, requires = "suite")]
    coverage: bool,
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
    Driver,
    Tools,
    Older,
    Forms,
    Large,
    Short,
}

/// An emulated guest keeps one processor busy: two lanes, which take about the same time.
const LANES: [&str; 2] = ["lint,tree,host,older,tools", "driver,short"];

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
const DEBUG: &[&str] = &[
    "alloc_faults",
    "t_[!cdew]*",
    "fuzz_images",
    "races",
    "stress",
];

/// What runs in the kernel that looks for races: what has several tasks do much at the same time.
const RACES: &[&str] = &[
    "races 20",
    "stress",
    "t_sharing",
    "t_open_files",
    "t_random_calls 600",
];

/// A run of tests, and what came out so far.
struct Run {
    logs: PathBuf,
    counts: Counts,
    /// Whether all programs of a part run, so that their counts stand for it.
    is_whole: bool,
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
        is_whole: options.programs.is_empty(),
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
    /// Prints a line, and keeps it for the end if it says what failed, or (indented) why.
    fn tell(&self, line: &str) {
        println!("{line}");
        if line.contains(": FAILED: ") || line.starts_with("    ") {
            // It is on the screen already; the list is only a help.
            let _ = OpenOptions::new()
                .append(true)
                .create(true)
                .open(self.logs.join(FAILURES))
                .and_then(|mut file| writeln!(file, "{line}"));
        }
    }

    /// What failed, a line each, and why.
    fn failures(&self) -> String {
        fs::read_to_string(self.logs.join(FAILURES)).unwrap_or_default()
    }

    fn parts(&mut self, options: &Options) -> Result<()> {
        let suite = options.suite.unwrap_or(Suite::Trixie);
        let programs: Vec<&str> = match (options.programs.as_slice(), suite) {
            ([], Suite::Debug) => DEBUG.to_vec(),
            ([], Suite::Kcsan) => RACES.to_vec(),
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
        } else if options.images {
            vec![Part::Forms, Part::Large]
        } else if options.guest || options.suite.is_some() {
            vec![Part::Guest]
        } else if options.programs.is_empty() {
            return self.all();
        } else {
            bail!("PROGRAM is for --guest");
        };
        if options.coverage && suite != Suite::Debug {
            bail!("only the kernel of --suite debug says where it comes by");
        }
        let guest = Guest {
            suite,
            coverage: options.coverage,
            // Those programs take long in that kernel.
            has_containers: !suite.is_debug() || !self.is_whole,
            programs: &programs,
            but: &[],
            module: options.module.clone(),
        };
        for part in parts {
            self.counts += match part {
                Part::Lint => self.lint()?,
                Part::Tree => self.tree()?,
                Part::Host => self.host()?,
                Part::Guest => self.guest("guest", &guest)?,
                Part::Driver => self.guest("driver", &guest.without(TOOLS))?,
                Part::Tools => self.guest("tools", &guest.with(TOOLS))?,
                Part::Older => self.guest(
                    "older",
                    &Guest {
                        suite: Suite::Forky,
                        ..guest.with(OLDER)
                    },
                )?,
                Part::Forms => self.forms()?,
                Part::Short => short::run(&mut |line| self.tell(&line))?,
                Part::Large => self.guest("large", &guest.with(LARGE))?,
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
        fs::copy(
            cargo::c_library(Arch::Amd64, "composefs-capi", "release")?,
            &library,
        )?;
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

    fn guest(&self, name: &str, guest: &Guest) -> Result<Counts> {
        let logs = self.logs.join(name);
        let counts = guest.run(name, &logs, &mut |line| self.tell(&line))?;
        if self.is_whole {
            let part = if name == "guest" {
                guest.suite.name()
            } else {
                name
            };
            let kernel = Kernel::of(guest.suite)?.release;
            others::keep("tests", &[(part.into(), counts)], &kernel)?;
        }
        Ok(counts)
    }

    fn forms(&self) -> Result<Counts> {
        let counts = forms::run(&mut |line| self.tell(&line))?;
        println!("forms: {counts}");
        Ok(counts)
    }
}
