// SPDX-License-Identifier: GPL-2.0-only
//! Makes composefs images.
#![forbid(unsafe_code)]

use composefs_tools::{cli, mkcomposefs::Command};

fn main() -> std::process::ExitCode {
    cli::main("mkcomposefs", Command::run)
}
