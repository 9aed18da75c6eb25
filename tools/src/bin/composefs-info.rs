// SPDX-License-Identifier: GPL-2.0-only
//! Looks into composefs images.
#![forbid(unsafe_code)]

use composefs_tools::{cli, info::Command};

fn main() -> std::process::ExitCode {
    cli::main("composefs-info", Command::run)
}
