// SPDX-License-Identifier: GPL-2.0-only
//! Mounts composefs images: by itself, and for `mount -t composefs`.
#![forbid(unsafe_code)]

use std::ffi::OsString;
use std::fs::File;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Parser;
use composefs_mount::options::Options;
use composefs_tools::cli;

const AFTER_HELP: &str = "\
Options: basedir=PATH[:PATH...] where the objects are; digest=HEX the fs-verity digest that the image \
must have; signature=PATH a signature that it must have, for the kernel to check; verity, tryverity, \
noverity, verity=off|on|require what objects must prove (nothing, unless digest= or signature= is \
given); upperdir=DIR and workdir=DIR for a layer that can be written to; idmap=PATH a user namespace \
whose owners are shown; ro, rw, nosuid, nodev, noexec and the like; remount. In a path, a backslash \
before a comma or colon makes it part of the path.

composefs.driver=auto|kernel|overlay: mount by the kernel's composefs if it has that, by that only, \
or by EROFS and overlayfs. /proc/mounts shows which: the type is composefs or overlay.

Example:

  mount.composefs -o basedir=/srv/objects,digest=$digest /srv/tree.cfs /mnt";

/// Mount a composefs image
#[derive(Debug, Parser)]
#[command(name = "mount.composefs", after_help = AFTER_HELP)]
struct Command {
    /// Mount options, with commas between them
    #[arg(short, value_name = "OPTIONS")]
    options: Vec<OsString>,

    /// The type of the file system: composefs
    #[arg(short = 't', value_name = "TYPE", default_value = "composefs", value_parser = ["composefs"], hide = true)]
    _file_system: String,

    /// Do all but the mounting
    #[arg(short)]
    fake: bool,

    /// Pass over options that are not known
    #[arg(short)]
    sloppy: bool,

    /// Say nothing more: as mount(8) gives it
    #[arg(short = 'v', hide = true)]
    _verbose: bool,

    /// Write to no mtab: as mount(8) gives it
    #[arg(short = 'n', hide = true)]
    _no_mtab: bool,

    /// The image
    image: PathBuf,

    /// The directory to mount it at
    #[arg(value_name = "TARGETDIR")]
    target: PathBuf,
}

fn run(command: Command) -> Result<()> {
    let Command { image, target, .. } = &command;
    let options = Options::parse(
        command.options.iter().map(OsString::as_os_str),
        command.sloppy,
    )?;
    if command.fake {
        return Ok(());
    }
    if options.is_remount {
        return Ok(composefs_mount::remount(&options, target)?);
    }
    let failed = || format!("failed to mount composefs {}", image.display());
    let file = File::open(image).with_context(failed)?;
    composefs_mount::mount(&file, &options, target).with_context(failed)
}

fn main() -> std::process::ExitCode {
    cli::main("mount.composefs", run)
}
