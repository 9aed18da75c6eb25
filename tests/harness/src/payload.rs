// SPDX-License-Identifier: GPL-2.0-only
//! What a guest finds in `/opt/composefs`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{bail, Context, Result};
use clap::{Args, ValueEnum};

use crate::arch::Arch;
use crate::jobs::Jobs;
use crate::kernel::Kernel;
use crate::module;
use crate::suite::Suite;
use crate::toolchain::Toolchain;
use crate::{cargo, note, peers, place, process};

/// Puts together what a guest finds in /opt/composefs
///
/// DIR/composefs.ko: the module for SUITE's kernel; not for debug, whose kernel has it built in.
/// DIR/bin: our tools. DIR/tests, DIR/peers, DIR/corpus, with --tests: the guest's test programs,
/// composefs-rs' tools, and what the parser's fuzzers kept. DIR/bench, with --bench.
///
/// Builds what is not up to date.
#[derive(Args)]
pub struct Options {
    /// The test programs as well, and what they need
    #[arg(long)]
    pub tests: bool,
    /// The benchmark's programs as well
    #[arg(long)]
    pub bench: bool,
    /// For whose kernel
    #[arg(long, default_value = "trixie")]
    pub suite: Suite,
    /// This module, made elsewhere, instead of one built here
    #[arg(long, value_name = "FILE")]
    pub module: Option<PathBuf>,
    /// Only one of the parts that are built beside each other, into a directory that exists
    #[arg(long, hide = true)]
    pub part: Option<Part>,
    /// Where to; it must not exist
    pub dir: PathBuf,
}

#[derive(Clone, Copy, ValueEnum)]
pub enum Part {
    Module,
    Programs,
}

/// Makes the directory.
pub fn make(options: &Options) -> Result<()> {
    let Options { suite, dir, .. } = options;
    match options.part {
        Some(Part::Module) => return module(options),
        Some(Part::Programs) => return programs(options),
        None => {}
    }
    if dir.exists() {
        bail!("{} exists", dir.display());
    }
    fs::create_dir_all(dir.join("bin"))?;
    // Both need it, and one of them would say that it waits for the other.
    Toolchain::of(*suite)?;
    // To prepare a kernel tree leaves much of the processors' time.
    let mut jobs = Jobs::new()?;
    for part in ["module", "programs"] {
        let path = dir
            .to_str()
            .context("the path of the payload is not text")?;
        let mut job = vec!["payload", "--part", part, "--suite", suite.name(), path];
        job.extend(options.tests.then_some("--tests"));
        job.extend(options.bench.then_some("--bench"));
        if let Some(module) = &options.module {
            job.push("--module");
            job.push(module.to_str().context("the module's path is not text")?);
        }
        jobs.start(&job, false)?;
    }
    jobs.wait()
}

/// The module, but for a kernel that has it built in.
fn module(options: &Options) -> Result<()> {
    let to = options.dir.join("composefs.ko");
    if let Some(module) = &options.module {
        fs::copy(module, to).with_context(|| format!("{}: cannot be read", module.display()))?;
        return Ok(());
    }
    // Says so if it has to be made.
    Kernel::of(options.suite)?;
    if options.suite.is_debug() {
        return Ok(());
    }
    note!("module: building (usually 20 seconds)");
    let module = module::build(&module::Options {
        suite: Some(options.suite),
        make: vec!["-s".into()],
        ..Default::default()
    })?;
    fs::copy(place::checkout("").join(module), to)?;
    Ok(())
}

/// All else.
fn programs(options: &Options) -> Result<()> {
    let dir = &options.dir;
    let arch = options.suite.arch();
    note!("tools: building (usually 1 minute)");
    // Tests make many images, on an emulated CPU; the demo makes one, and somebody waits for it.
    let is_demo = !options.tests && !options.bench;
    let profile = if is_demo { "guest" } else { "release" };
    let bin = dir.join("bin");
    copy_programs(arch, "composefs-tools", profile, &bin)?;
    copy_all(&cargo::mount_helper(arch, profile)?, &bin)?;
    // The name that mount(8) looks for is none that a crate can have.
    fs::rename(bin.join("mount-composefs"), bin.join("mount.composefs"))?;
    if options.tests {
        copy_programs(arch, "composefs-boot", profile, &bin)?;
        copy_programs(arch, "composefs-mountd", profile, &bin)?;
        // What it pulls there is small.
        copy_all(
            &cargo::programs_for_debian(arch, "composefs-command", "guest")?,
            &bin,
        )?;
        fs::create_dir(dir.join("lib"))?;
        fs::copy(
            cargo::c_library(arch, "composefs-capi", profile)?,
            dir.join("lib/libcomposefs.so.1"),
        )?;
        note!("guest tests: building (usually 1 minute)");
        copy_programs(arch, "composefs-selftests", "guest", &dir.join("tests"))?;
        fs::copy(
            place::checkout("scripts/in-guest/run-tests"),
            dir.join("run-tests"),
        )?;
        fs::create_dir(dir.join("peers"))?;
        // What needs them says that it is skipped.
        if arch == Arch::Amd64 {
            match peers::composefs_rs() {
                Ok(peers) => copy_tree(&peers.join("bin/cfsctl"), &dir.join("peers"))?,
                Err(error) => note!("{error:#}"),
            }
        }
        copy_tree(&place::checkout("tests/fuzz/corpus"), dir)?;
    }
    if options.bench {
        note!("benchmark: building (usually 1 minute)");
        copy_programs(arch, "composefs-mountd", profile, &bin)?;
        copy_all(
            &cargo::programs_for_debian(arch, "composefs-command", "guest")?,
            &bin,
        )?;
        fs::create_dir_all(dir.join("peers"))?;
        let peers = peers::composefs_rs_as_released()?;
        copy_tree(&peers.join("bin/cfsctl"), &dir.join("peers"))?;
        copy_programs(arch, "composefs-bench", "release", &dir.join("bench"))?;
        let prepare = "bench-prepare";
        fs::copy(
            place::checkout("scripts/in-guest").join(prepare),
            dir.join("bench").join(prepare),
        )?;
    }
    Ok(())
}

fn copy_programs(arch: Arch, package: &str, profile: &str, to: &Path) -> Result<()> {
    copy_all(&cargo::programs(arch, package, profile)?, to)
}

fn copy_all(programs: &[PathBuf], to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for program in programs {
        fs::copy(program, to.join(program.file_name().unwrap_or_default()))?;
    }
    Ok(())
}

fn copy_tree(from: &Path, into: &Path) -> Result<()> {
    process::run(Command::new("cp").arg("-r").args([from, into]))
}
