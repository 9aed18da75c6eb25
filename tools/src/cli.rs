// SPDX-License-Identifier: GPL-2.0-only
//! What the commands have in common.

use std::io::Write;
use std::process::ExitCode;

use anyhow::{anyhow, Context, Result};
use clap::error::ErrorKind;
use clap::Parser;
use clap_complete::Shell;
use clap_mangen::roff::{bold, roman, Roff};

use crate::fsverity::Algorithm;
use crate::quote;

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
            // The exit status is that of the C tools, 1, not clap's 2.
            Err(error) if is_answer(&error) => {
                // Nowhere to complain to if this fails.
                let _ = error.print();
                return ExitCode::from(u8::from(error.use_stderr()));
            }
            Err(error) => Err(anyhow!("{} (see --help)", usage_error(&error))),
        },
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever read our output has enough; that is no news to anyone.
        Err(error) if is_broken_pipe(&error) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{name}: {}", quote::line(&format!("{error:#}")));
            ExitCode::FAILURE
        }
    }
}

/// Whether help or the version is what was asked for, or help is all there is to say.
fn is_answer(error: &clap::Error) -> bool {
    use ErrorKind::{DisplayHelp, DisplayHelpOnMissingArgumentOrSubcommand, DisplayVersion};
    matches!(
        error.kind(),
        DisplayHelp | DisplayHelpOnMissingArgumentOrSubcommand | DisplayVersion
    )
}

/// What clap says of a wrong command line, in one line and without the usage that follows.
fn usage_error(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let first = text.split("\n\n").next().unwrap_or_default();
    let words: Vec<_> = first.split_whitespace().collect();
    words.join(" ").trim_start_matches("error: ").to_owned()
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let io = error.root_cause().downcast_ref::<std::io::Error>();
    io.is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}

fn generate<C: Parser>(name: &str, kind: &str) -> Result<()> {
    let mut command = C::command();
    let mut text = Vec::new();
    if kind == "man" {
        manual(command, &mut text)?;
    } else {
        let shell: Shell = kind
            .parse()
            .map_err(|_| anyhow!("cannot generate anything for {kind}"))?;
        clap_complete::generate(shell, &mut command, name, &mut text);
        if shell == Shell::Fish {
            fish_values(&command, name, &mut text)?;
        }
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

/// What an argument may be, for fish: its generator goes only by options and subcommands.
fn fish_values(command: &clap::Command, name: &str, out: &mut Vec<u8>) -> Result<()> {
    for argument in command.get_positionals() {
        for value in argument.get_possible_values() {
            let value = value.get_name();
            writeln!(
                out,
                "complete -c {name} -n __fish_use_subcommand -a {value}"
            )?;
        }
    }
    Ok(())
}

/// Writes a manual page. What `--help` ends with becomes a section; indented there are examples.
fn manual(command: clap::Command, out: &mut Vec<u8>) -> Result<()> {
    let notes = command
        .get_after_long_help()
        .or(command.get_after_help())
        .map(ToString::to_string)
        .unwrap_or_default();
    // Helpers of mount(8) and of the boot, and services, are for administrators. It decides in which
    // directory they are installed.
    let section = match command.get_name() {
        "mount.composefs" | "composefs-setup-root" | "composefs-mountd" => "8",
        _ => "1",
    };
    let mut subcommands: Vec<_> = command.get_subcommands().cloned().collect();
    subcommands.iter_mut().for_each(clap::Command::build);
    let man = clap_mangen::Man::new(command).section(section);
    man.render_title(out)?;
    man.render_name_section(out)?;
    man.render_synopsis_section(out)?;
    man.render_description_section(out)?;
    man.render_options_section(out)?;
    if !subcommands.is_empty() {
        Roff::new().control("SH", ["COMMANDS"]).to_writer(out)?;
    }
    for subcommand in subcommands {
        let mut roff = Roff::new();
        roff.control("SS", [subcommand.get_name()]);
        if let Some(about) = subcommand.get_about() {
            roff.text([roman(about.to_string())]);
        }
        roff.to_writer(out)?;
        // Its options are below its name: a section of their own they are not.
        let mut options = Vec::new();
        clap_mangen::Man::new(subcommand).render_options_section(&mut options)?;
        let options = String::from_utf8_lossy(&options);
        let lines = options.lines().filter(|line| !line.starts_with(".SH"));
        lines.clone().try_for_each(|line| writeln!(out, "{line}"))?;
    }
    let mut roff = Roff::new();
    roff.control("SH", ["NOTES"]);
    for paragraph in notes.split("\n\n") {
        let as_is = paragraph.starts_with(' ');
        roff.control(if as_is { "EX" } else { "PP" }, []);
        paragraph.lines().for_each(|line| {
            roff.text([roman(line)]);
        });
        if as_is {
            roff.control("EE", []);
            roff.control("PP", []);
        }
    }
    roff.control("SH", ["EXIT STATUS"]);
    roff.text([roman(
        "0 if all went well. 1 if not; a line on standard error says why.",
    )]);
    roff.control("SH", ["SEE ALSO"]);
    roff.text([
        bold("mkcomposefs"),
        roman("(1), "),
        bold("composefs-info"),
        roman("(1), "),
        bold("composefs"),
        roman("(5), "),
        bold("mount.composefs"),
        roman("(8)"),
    ]);
    roff.to_writer(out)?;
    Ok(())
}
