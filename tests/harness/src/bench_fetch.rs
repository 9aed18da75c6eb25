// SPDX-License-Identifier: GPL-2.0-only
//! The benchmark of fetching objects over a link: `composefs` beside podman and curl.

use anyhow::{Context, Result};
use clap::Args;

use crate::cargo;
use crate::registry::{Measured, Tools};

/// Measures fetches over a link of 100 Mbit/s and 20 ms beside `podman pull` and curl
///
/// All run in one Debian root, at both ends of a link between two network namespaces, in directories
/// below build/, 5 GB at most. Prints a table of medians, and writes build/bench-fetch.json.
#[derive(Args)]
pub struct Options {
    /// Rounds of each
    #[arg(long, default_value_t = 3)]
    rounds: u32,
}

/// Runs the benchmark; its exit status.
pub fn run(options: &Options) -> Result<i32> {
    let ours = cargo::released("composefs-command", "composefs")?;
    let tools = Tools::get()?;
    let measured = Measured {
        ours,
        images: tools.updates()?,
        rounds: options.rounds,
    };
    let mut command = tools.bench("fetch", "bench-fetch", &measured)?;
    let status = command.status().context("cannot run unshare")?;
    Ok(status.code().unwrap_or(1))
}
