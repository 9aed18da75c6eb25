// SPDX-License-Identifier: GPL-2.0-only
//! The parser and the tools under libFuzzer: see `tests/fuzz`.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{bail, Context, Result};
use clap::{Args, ValueEnum};

use crate::artifact::remove_tree;
use crate::process::{self, Log};
use crate::{note, place};

/// Fuzzes the parser and the tools with libFuzzer, and says how often each target ran
///
/// What is found on the way is kept in build/fuzz/corpus; an input that fails is put into
/// build/fuzz, and ends the run. Needs a nightly toolchain of rustup.
#[derive(Args)]
pub struct Options {
    /// How long each target runs
    #[arg(long, value_name = "N", default_value_t = 60)]
    seconds: u32,
    /// How often each target runs, instead
    #[arg(long, value_name = "N", conflicts_with = "seconds")]
    runs: Option<u32>,
    /// Replaces tests/fuzz/corpus by as few of these inputs and of those found since as cover the
    /// same, none of them large
    #[arg(long, conflicts_with_all = ["seconds", "runs"])]
    minimise: bool,
    /// All of them if none is named
    targets: Vec<Target>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Target {
    Open,
    Walk,
    Lookup,
    Xattr,
    Model,
    Dump,
    Signature,
    Layer,
    Stream,
    Varlink,
}

/// The version of cargo-fuzz.
const VERSION: &str = "0.13.2";

pub fn run(options: &Options) -> Result<()> {
    check_tools()?;
    let programs = build()?;
    let targets = match options.targets.as_slice() {
        [] => Target::value_variants(),
        some => some,
    };
    for &target in targets {
        let fuzzer = Fuzzer::new(target, &programs)?;
        if options.minimise {
            fuzzer.minimise()?;
        } else {
            fuzzer.fuzz(&match options.runs {
                Some(runs) => format!("-runs={runs}"),
                None => format!("-max_total_time={}", options.seconds),
            })?;
        }
    }
    Ok(())
}

fn check_tools() -> Result<()> {
    let prints = |program: &str, arguments: &[&str]| {
        let output = Command::new(program).args(arguments).output();
        output.map_or_else(
            |_| String::new(),
            |output| String::from_utf8_lossy(&output.stdout).into_owned(),
        )
    };
    if prints("rustup", &["run", "nightly", "rustc", "--version"]).is_empty() {
        bail!("fuzz: needs a nightly Rust toolchain; run: rustup toolchain install nightly");
    }
    if prints("c++", &["--version"]).is_empty() {
        bail!("fuzz: needs a C++ compiler; run: sudo apt-get install g++");
    }
    if prints("cargo", &["fuzz", "--version"]).trim() != format!("cargo-fuzz {VERSION}") {
        bail!("fuzz: needs cargo-fuzz {VERSION}; run: cargo install cargo-fuzz --locked --version {VERSION}");
    }
    Ok(())
}

/// Builds the targets, and gives the directory with the programs.
fn build() -> Result<PathBuf> {
    note!("fuzz: building the targets (usually 2 minutes at first)");
    let dir = place::checkout("tests/fuzz/fuzz");
    // The same versions as are shipped.
    fs::copy(place::checkout("Cargo.lock"), dir.join("Cargo.lock"))?;
    let out = place::build("fuzz/target")?;
    let log = Log::create(place::build("fuzz/build.log")?)?;
    // All that is fuzzed is safe Rust, so the checks of the compiler are those that count.
    let mut cargo = Command::new("cargo");
    cargo
        .args([
            "+nightly",
            "fuzz",
            "build",
            "--fuzz-dir",
            ".",
            "--sanitizer",
            "none",
        ])
        .arg("--target-dir")
        .arg(&out)
        .current_dir(&dir);
    log.run(&mut cargo).with_context(|| {
        format!(
            "fuzz: cannot build the targets: {}; see build/fuzz/build.log",
            process::reason(&log.text())
        )
    })?;
    let about = process::output(Command::new("rustc").args(["+nightly", "-vV"]))?;
    let host = about
        .lines()
        .find_map(|line| line.strip_prefix("host: "))
        .context("rustc does not say what its host is")?;
    Ok(out.join(host).join("release"))
}

/// A target, with what belongs to it.
struct Fuzzer {
    target: Target,
    name: String,
    program: PathBuf,
    /// The corpus that the checkout has.
    kept: PathBuf,
    /// What was found since.
    found: PathBuf,
    log: PathBuf,
}

impl Fuzzer {
    fn new(target: Target, programs: &Path) -> Result<Self> {
        let name = target
            .to_possible_value()
            .context("target without a name")?
            .get_name()
            .to_owned();
        let found = place::build(&format!("fuzz/corpus/{name}"))?;
        fs::create_dir_all(&found)?;
        Ok(Self {
            target,
            program: programs.join(&name),
            kept: place::checkout("tests/fuzz/corpus").join(&name),
            found,
            log: place::build(&format!("fuzz/{name}.log"))?,
            name,
        })
    }

    /// Runs it; whether it found nothing.
    fn run(&self, arguments: &[&str], inputs: &[&Path]) -> Result<bool> {
        let log = File::create(&self.log)?;
        // Longer inputs find nothing more, and take longer.
        let length = match self.target {
            Target::Dump => 4096,
            _ => 32768,
        };
        let status = Command::new(&self.program)
            .arg(format!("-max_len={length}"))
            .args(arguments)
            .args(inputs)
            // Else every error that a target meets takes a backtrace.
            .env("RUST_BACKTRACE", "0")
            .stdout(log.try_clone()?)
            .stderr(log)
            .status()?;
        Ok(status.success())
    }

    fn printed(&self) -> Result<String> {
        Ok(String::from_utf8_lossy(&fs::read(&self.log)?).into_owned())
    }

    fn fuzz(&self, limit: &str) -> Result<()> {
        // Valid inputs by all the tools that there are.
        let images = place::checkout("fs/composefs/format/tests/images");
        let mut inputs = vec![self.found.as_path(), &self.kept];
        use Target::{Dump, Layer, Signature, Stream};
        if !matches!(self.target, Dump | Signature | Layer | Stream) {
            inputs.push(&images);
        }
        let artifacts = place::build(&format!("fuzz/{}-", self.name))?;
        let prefix = format!("-artifact_prefix={}", artifacts.display());
        let is_good = self.run(&[limit, "-timeout=60", &prefix], &inputs)?;

        let name = &self.name;
        let printed = self.printed()?;
        if !is_good {
            let signs = ["panicked at", "ERROR: libFuzzer", "Test unit written"];
            let telling = printed
                .lines()
                .filter(|line| signs.iter().any(|sign| line.contains(sign)));
            telling.for_each(|line| note!("{line}"));
            bail!("{name}: FAILED; see build/fuzz/{name}.log");
        }
        let done = printed
            .lines()
            .find_map(|line| line.strip_prefix("Done "))
            .unwrap_or("no runs");
        println!("{name}: {done}, no finding");
        Ok(())
    }

    fn minimise(&self) -> Result<()> {
        let name = &self.name;
        let new = self.found.with_file_name(format!("{name}.min"));
        remove_tree(&new)?;
        fs::create_dir_all(&new)?;
        let merge = ["-set_cover_merge=1", "-use_counters=0"];
        if !self.run(&merge, &[&new, &self.kept, &self.found])? {
            bail!("{name}: cannot minimise; see build/fuzz/{name}.log");
        }
        remove_tree(&self.kept)?;
        fs::create_dir_all(&self.kept)?;
        let (mut inputs, mut bytes) = (0, 0);
        for entry in fs::read_dir(&new)? {
            let entry = entry?;
            inputs += 1;
            bytes += entry.metadata()?.len();
            fs::copy(entry.path(), self.kept.join(entry.file_name()))?;
        }
        println!("{name}: {inputs} inputs, {} KiB", bytes / 1024);
        remove_tree(&new)
    }
}
