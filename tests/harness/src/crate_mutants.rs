// SPDX-License-Identifier: GPL-2.0-only
//! Whether the tests on the host notice that the parser or the tools are broken: cargo-mutants breaks
//! them.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{bail, Context, Result};
use clap::Args;
use serde_json::Value;

use crate::crate_tool::CrateTool;
use crate::suite::Suite;
use crate::tap::Counts;
use crate::toolchain::Toolchain;
use crate::{checkout, note, peers, place, process};

/// Breaks the parser and the tools in many small ways, and wants their tests on the host to notice
///
/// cargo-mutants breaks a copy of the checkout. Passed is what was noticed; failed is what was not, and
/// that fewer were than have to be; skipped is what is no Rust. What cannot be noticed, or is not worth
/// it, is not tried: tests/mutants/unnoticed.toml says what and why. It does count against what has
/// to be noticed. Whole outputs are in build/crate-mutants.
#[derive(Args, Default)]
pub struct Options {
    /// composefs-format or composefs-tools [default: both]
    #[arg(value_name = "PACKAGE")]
    pub packages: Vec<String>,
    /// Only in these files
    #[arg(long = "file", value_name = "GLOB")]
    pub files: Vec<String>,
    /// Only this part of them, 0/4 for the first, fifth, ninth. With one of these two, how many have
    /// to be noticed is not asked
    #[arg(long, value_name = "K/N")]
    pub shard: Option<String>,
}

const CARGO_MUTANTS: CrateTool = CrateTool {
    name: "cargo-mutants",
    version: "26.0.0",
    features: &[],
    usually: "3 minutes",
};

const OPTIONS: &[&str] = &[
    "--in-place",
    "--no-shuffle",
    "--colors=never",
    "--cap-lints=true",
    "--minimum-test-timeout=15",
];

/// What is broken may write, or take memory, for ever.
const LIMITS: [&str; 3] = ["prlimit", "--fsize=1073741824", "--data=8589934592"];

/// What cargo is told whatever it does.
const FOR_CARGO: &[&str] = &["--locked", "--ignore-rust-version"];

/// The statuses of cargo-mutants that say what came of the mutants: all noticed, not all, some for ever.
const NOTICED_OR_NOT: &[Option<i32>] = &[Some(0), Some(2), Some(3)];

/// What is not tried, with the reasons.
const UNNOTICED: &str = "tests/mutants/unnoticed.toml";

struct Package {
    name: &'static str,
    /// What its tests are, as `cargo test` is told.
    tests: &'static [&'static str],
    /// Whether the tests compare with the peers.
    has_peers: bool,
    /// Whether GNU ld would take most of the time.
    has_lld: bool,
    /// How many of a hundred have to be noticed.
    least: u64,
}

/// For all that cargo does: what is tried once is not optimised.
const SOON: &[&str] = &[
    "--config",
    "profile.dev.package.composefs-format.opt-level=0",
    "--config",
    "profile.dev.package.composefs-tools.opt-level=0",
];

const PACKAGES: &[Package] = &[
    // Whether it can panic is asked of the compiler, and whether an image may be wrong, of every byte
    // and of thousands at random: that goes on for long.
    Package {
        name: "composefs-format",
        tests: &[
            "--lib",
            "--test",
            "it",
            "--",
            "--skip",
            "panic_free",
            "--skip",
            "may_be_wrong",
        ],
        has_peers: false,
        has_lld: false,
        least: 95,
    },
    // Beside the C tools and composefs-rs, but on a few of the random inputs; and without what takes
    // seconds, as it makes much of something, or tries a thousand damages, or has openssl make keys
    // of every form, or kills all the time.
    Package {
        name: "composefs-tools",
        tests: &[
            "--lib",
            "--tests",
            "--",
            "--include-ignored",
            "--skip",
            "on_our_library",
            "--skip",
            "a_large_directory",
            "--skip",
            "real_directories",
            "--skip",
            "few_open_files_suffice",
            "--skip",
            "killed_at_any_moment",
            "--skip",
            "several_at_once",
            "--skip",
            "many_small_directories_take_few_descriptors",
            "--skip",
            "every_form",
            "--skip",
            "encrypted_keys",
            "--skip",
            "signatures_by_openssl",
        ],
        has_peers: true,
        has_lld: true,
        least: 85,
    },
];

/// Tries them; gives the exit status.
pub fn run(options: &Options) -> Result<i32> {
    let counts = counts(options)?;
    println!("{counts}");
    Ok(i32::from(!counts.is_good()))
}

/// Tries them.
pub fn counts(options: &Options) -> Result<Counts> {
    let known = |name: &String| PACKAGES.iter().any(|package| package.name == name);
    if let Some(name) = options.packages.iter().find(|name| !known(name)) {
        bail!("{name}: no such package (see --help)");
    }
    let asked = |package: &&Package| {
        options.packages.is_empty() || options.packages.iter().any(|name| name == package.name)
    };
    let mut counts = Counts::default();
    for package in PACKAGES.iter().filter(asked) {
        counts += package.try_all(options)?;
    }
    Ok(counts)
}

impl Package {
    fn try_all(&self, options: &Options) -> Result<Counts> {
        let dir = place::build(&format!("crate-mutants/{}/x", self.name))?.with_file_name("");
        let (source, outcomes) = (dir.join("source"), dir.join("mutants.out"));
        for old in [&source, &outcomes] {
            if old.exists() {
                fs::remove_dir_all(old)?;
            }
        }
        checkout::copy(&source)?;

        let config = place::checkout(UNNOTICED).canonicalize()?;
        let config = ["--config", config.to_str().context("a path is not text")?];
        let all = self.number(&dir, options, &["--no-config"])?;
        let tried = self.number(&dir, options, &config)?;
        note!(
            "{}: {tried} mutants: trying (usually 5 seconds each)",
            self.name
        );
        let mut mutants = self.cargo(&dir, options)?;
        mutants.args(config).args(OPTIONS).arg("--output").arg(&dir);
        for argument in FOR_CARGO.iter().chain(SOON) {
            mutants.arg(format!("--cargo-arg={argument}"));
        }
        mutants.arg("--").args(self.tests);
        let status = mutants
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .status()?;
        if !NOTICED_OR_NOT.contains(&status.code()) {
            let ending = process::ending(status);
            bail!(
                "{}: cargo-mutants: {ending}; see {}",
                self.name,
                outcomes.display()
            );
        }
        self.judge(&outcomes, all.saturating_sub(tried), options)
    }

    /// How many there are.
    fn number(&self, dir: &Path, options: &Options, config: &[&str]) -> Result<u64> {
        let mut list = self.cargo(dir, options)?;
        list.args(["--list", "--json"]).args(config);
        let list: Vec<Value> = serde_json::from_str(&process::output(&mut list)?)?;
        Ok(list.len().try_into()?)
    }

    /// cargo-mutants for the copy in a directory. What it builds stays there for the next time.
    fn cargo(&self, dir: &Path, options: &Options) -> Result<Command> {
        let target = format!("CARGO_TARGET_DIR={}", dir.join("target").display());
        let mut variables = vec![
            target,
            "CARGO_PROFILE_DEV_DEBUG=none".into(),
            "CARGO_PROFILE_TEST_DEBUG=none".into(),
        ];
        let toolchain = match self.has_lld {
            true => Toolchain::clang()?,
            false => Toolchain::of(Suite::Trixie)?,
        };
        if self.has_lld {
            variables.push("RUSTFLAGS=-Clink-arg=-fuse-ld=lld".into());
        }
        if self.has_peers {
            let rs_tools = peers::composefs_rs()?.join("host");
            variables.extend([
                format!("COMPOSEFS_C_TOOLS={}", peers::composefs_c()?.display()),
                format!("COMPOSEFS_RS_TOOLS={}", rs_tools.display()),
                "COMPOSEFS_FEW_SEEDS=1".into(),
            ]);
        }
        variables.extend(LIMITS.map(String::from));
        let mut cargo = CARGO_MUTANTS.cargo(&toolchain, &variables)?;
        cargo.args(["mutants", "--package", self.name, "--dir"]);
        cargo.arg(dir.join("source"));
        for file in &options.files {
            cargo.args(["--file", file]);
        }
        if let Some(shard) = &options.shard {
            cargo.args(["--sharding=round-robin", "--shard", shard]);
        }
        Ok(cargo)
    }

    /// The counts, with one that failed more if fewer were noticed than have to be.
    fn judge(&self, outcomes: &Path, left_out: u64, options: &Options) -> Result<Counts> {
        let Self { name, least, .. } = self;
        let lines = |outcome: &str| {
            let file = outcomes.join(format!("{outcome}.txt"));
            fs::read_to_string(&file).with_context(|| file.display().to_string())
        };
        let number = |outcome: &str| -> Result<u64> { Ok(lines(outcome)?.lines().count() as u64) };
        for mutant in lines("missed")?.lines() {
            println!("{name}: FAILED: {mutant}: no test notices it");
        }
        let unviable = number("unviable")?;
        if unviable > 0 {
            println!("{name}: SKIPPED: {unviable} mutants that are no Rust");
        }
        // What does not end is noticed.
        let noticed = number("caught")? + number("timeout")?;
        let mut counts = Counts::of(noticed, number("missed")?, unviable);
        let viable = noticed + counts.failed + left_out;
        println!("{name}: {noticed} of {viable} are noticed; {left_out} are known not to be: {UNNOTICED}");
        let is_whole = options.files.is_empty() && options.shard.is_none();
        if is_whole && noticed * 100 < least * viable {
            println!("{name}: FAILED: fewer than {least} of a hundred are noticed");
            counts.failed += 1;
        }
        Ok(counts)
    }
}
