// SPDX-License-Identifier: GPL-2.0-only
//! What the commands have in common.

use std::io::Write;
use std::process::ExitCode;

use anyhow::{anyhow, Context, Result};
use clap::Parser;
use clap_complete::Shell;

use crate::fsverity::Algorithm;

/// Parses the command line and runs a command. Messages are one line and begin with its `name`.
///
/// With `--generate=KIND` alone, the command prints its manual page (`man`) or the completions of
/// a shell (`bash`, `zsh`, `fish`) instead: what `make install` installs.
pub fn main<C: Parser>(name: &str, run: impl FnOnce(C) -> Result<()>) -> ExitCode {
    let mut arguments = std::env::args_os()
        .skip(1)
        .map(|argument| argument.into_string().unwrap_or_default());
    let result = match (arguments.next(), arguments.next()) {
        (Some(first), None) if first.starts_with("--generate=") => {
            generate::<C>(name, first.trim_start_matches("--generate="))
        }
        _ => match C::try_parse() {
            Ok(command) => run(command),
            Err(error) => {
                let failed = error.use_stderr();
                // Nowhere to complain to if this fails.
                let _ = error.print();
                // Scripts know 1, as from the C tools, not clap's 2.
                return ExitCode::from(u8::from(failed));
            }
        },
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever read our output has enough; that is no news to anyone.
        Err(error) if is_broken_pipe(&error) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{name}: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let io = error.root_cause().downcast_ref::<std::io::Error>();
    io.is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}

fn generate<C: Parser>(name: &str, kind: &str) -> Result<()> {
    let mut command = C::command();
    let mut text = Vec::new();
    if kind == "man" {
        clap_mangen::Man::new(command).render(&mut text)?;
    } else {
        let shell: Shell = kind
            .parse()
            .map_err(|_| anyhow!("cannot generate anything for {kind}"))?;
        clap_complete::generate(shell, &mut command, name, &mut text);
    }
    std::io::stdout()
        .write_all(&text)
        .context("cannot write to standard output")
}

/// The hash algorithm of this name, for options.
///
/// # Errors
/// If there is none.
pub fn algorithm(name: &str) -> Result<Algorithm, &'static str> {
    [Algorithm::Sha256, Algorithm::Sha512]
        .into_iter()
        .find(|algorithm| algorithm.name() == name)
        .ok_or("neither sha256 nor sha512")
}
