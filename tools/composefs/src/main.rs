// SPDX-License-Identifier: GPL-2.0-only
//! Images from registries, in a repository, mounted.
#![forbid(unsafe_code)]

mod access;
mod ahead;
mod cached;
mod command;
mod fetched;
mod lazy;
mod opens;
mod place;
mod progress;
mod service;
mod trust;

use std::process::ExitCode;

use composefs_tools::cli;

fn main() -> ExitCode {
    cli::main("composefs", command::Command::run)
}
