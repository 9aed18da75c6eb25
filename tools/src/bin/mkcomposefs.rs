// SPDX-License-Identifier: GPL-2.0-only
//! Makes composefs images.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let command = match composefs_tools::mkcomposefs::Command::try_parse() {
        Ok(command) => command,
        Err(error) => {
            let failed = error.use_stderr();
            // Nowhere to complain to if this fails.
            let _ = error.print();
            // Scripts know 1, as from the C tool, not clap's 2.
            return if failed {
                ExitCode::FAILURE
            } else {
                ExitCode::SUCCESS
            };
        }
    };
    match command.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("mkcomposefs: {error:#}");
            ExitCode::FAILURE
        }
    }
}
