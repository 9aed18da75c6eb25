// SPDX-License-Identifier: GPL-2.0-only
//! What the commands have in common.

use std::process::ExitCode;

use clap::Parser;

/// Parses the command line and runs a command. Messages are one line and begin with its `name`.
pub fn main<C: Parser>(name: &str, run: impl FnOnce(C) -> anyhow::Result<()>) -> ExitCode {
    let command = match C::try_parse() {
        Ok(command) => command,
        Err(error) => {
            let failed = error.use_stderr();
            // Nowhere to complain to if this fails.
            let _ = error.print();
            // Scripts know 1, as from the C tools, not clap's 2.
            return if failed {
                ExitCode::FAILURE
            } else {
                ExitCode::SUCCESS
            };
        }
    };
    match run(command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{name}: {error:#}");
            ExitCode::FAILURE
        }
    }
}
