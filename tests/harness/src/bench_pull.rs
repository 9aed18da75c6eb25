// SPDX-License-Identifier: GPL-2.0-only
//! The benchmark of pulling images: `composefs` beside composefs-rs, podman, and skopeo with
//! umoci, from one registry.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;

use crate::registry::{Measured, Tools};
use crate::{bench_guest, cargo, note, peers, place};

/// Measures pulls of real images beside cfsctl, podman, and skopeo with umoci
///
/// All run in one Debian root, in turns, from a registry on loopback into directories below build/,
/// 15 GB at most. How long it takes until a program of an image runs is measured in a guest, with a
/// smaller image. Prints a table of medians, and writes build/bench-pull.json.
#[derive(Args)]
pub struct Options {
    /// Rounds of each
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// Leave out the guest
    #[arg(long)]
    no_guest: bool,
    /// Leave out what is measured with 100,000 objects
    #[arg(long)]
    no_objects: bool,
}

/// What a measurement takes.
struct Bench {
    tools: Tools,
    measured: Measured,
}

/// Runs the benchmark; its exit status.
pub fn run(options: &Options) -> Result<i32> {
    let ours = cargo::released("composefs-command", "composefs")?;
    let tools = Tools::get()?;
    let measured = Measured {
        ours,
        images: tools.images()?,
        rounds: options.rounds,
    };
    let bench = Bench { tools, measured };
    let cfsctl = peers::composefs_rs_as_released()?.join("host/cfsctl");

    let mut command = bench.tools.bench("pull", "bench-pull", &bench.measured)?;
    command.arg("--cfsctl").arg(cfsctl);
    if options.no_objects {
        command.arg("--no-objects");
    }
    if !options.no_guest {
        command.arg("--guest").arg(bench.first_program()?);
    }
    let status = command.status().context("cannot run unshare")?;
    Ok(status.code().unwrap_or(1))
}

impl Bench {
    /// Measures in a guest how long it takes until a program of an image runs; the file with that.
    fn first_program(&self) -> Result<PathBuf> {
        let rounds = self.measured.rounds.to_string();
        let program = [
            "first-program",
            "--registry",
            "/images",
            "--rounds",
            &rounds,
        ];
        note!("first program: running a guest (usually 2 minutes a round)");
        let small = self.measured.images.join("small");
        let said = bench_guest::run(
            &self.tools,
            &self.measured.ours,
            (&small, "images"),
            &program,
            "bench-pull",
        )?;
        let path = place::build("bench-pull-guest.json")?;
        fs::write(&path, said)?;
        Ok(path.canonicalize()?)
    }
}
