// SPDX-License-Identifier: GPL-2.0-only
//! Makes a composefs image the root file system, in an initramfs.
#![forbid(unsafe_code)]

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;
use composefs_boot::arguments::Arguments;
use composefs_boot::config::Config;
use composefs_boot::Place;
use composefs_tools::cli;

const AFTER_HELP: &str = "\
The kernel command line says which image: composefs=DIGEST or composefs.digest=v1-sha256-12:DIGEST \
(v2, sha512), in the order in which they are tried; with ? before the value, nothing has to be proven. \
composefs.signature=FILE is a signature that it must have, for the kernel to check against its \
keyring .composefs. With that alone, the image is the file of that name less its suffix.

On the disk, composefs/images/DIGEST is the image, composefs/objects has its objects, \
state/deploy/DIGEST/var is /var, and what is changed in /etc is in state/deploy/DIGEST/etc. The disk \
is at /sysroot of the image, if that has such a directory.

The configuration has sections [etc] and [var] with mount = \"none\", \"bind\", \"overlay\" or \
\"transient\", and [root] with transient = true.";

/// Make a composefs image the root file system
#[derive(Debug, Parser)]
#[command(name = "composefs-setup-root", after_help = AFTER_HELP)]
struct Command {
    /// Where the disk is mounted, and the root will be
    #[arg(long, value_name = "DIR", default_value = "/sysroot")]
    sysroot: PathBuf,

    /// What can be written to
    #[arg(
        long,
        value_name = "FILE",
        default_value = "/usr/lib/composefs/setup-root-conf.toml"
    )]
    config: PathBuf,

    /// A kernel command line, instead of that of the kernel that runs
    #[arg(long, value_name = "TEXT")]
    cmdline: Option<String>,

    /// Where the root will be, if that is elsewhere
    #[arg(long, value_name = "DIR")]
    target: Option<PathBuf>,
}

fn run(command: Command) -> Result<()> {
    const CMDLINE: &str = "/proc/cmdline";
    let line = match command.cmdline {
        Some(line) => line,
        None => std::fs::read_to_string(CMDLINE).context(CMDLINE)?,
    };
    composefs_boot::set_up(
        &Arguments::parse(&line)?,
        &Config::read(&command.config)?,
        &Place {
            disk: &command.sysroot,
            target: command.target.as_deref(),
        },
    )
}

fn main() -> ExitCode {
    cli::main("composefs-setup-root", run)
}
