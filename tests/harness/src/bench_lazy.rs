// SPDX-License-Identifier: GPL-2.0-only
//! The benchmark of objects that come when they are opened, over a link, beside fetching all of them
//! first.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};

use crate::artifact::Artifact;
use crate::registry::{Measured, Tools};
use crate::suite::Suite;
use crate::toolchain::Toolchain;
use crate::{bench_guest, cargo, note, place};

/// Measures `mount --lazy` over a link of 100 Mbit/s and 20 ms beside `fetch`
///
/// How long it takes until a program of an image of more than 1 GB prints something, and until all of
/// the image was read, in a guest; and on the host, where the benchmark plays the driver. Prints tables
/// of medians, and writes build/bench-lazy.json and build/bench-lazily.json.
#[derive(Args)]
pub struct Options {
    /// Rounds of each
    #[arg(long, default_value_t = 1)]
    rounds: u32,
    /// Only this
    #[arg(long, value_enum)]
    only: Option<Row>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Row {
    /// How long it takes until a program prints something, in a guest
    First,
    /// And until all of it was read, in a guest
    All,
    /// And until all of it was read where the link is slow, and not the processors
    Link,
}

/// Runs the benchmark; its exit status.
pub fn run(options: &Options) -> Result<i32> {
    let ours = cargo::released("composefs-command", "composefs")?;
    let export = export(&ours)?;
    let mut status = 0;
    if matches!(options.only, None | Some(Row::Link)) {
        status = on_host(options, &ours, &export)?;
    }
    if options.only != Some(Row::Link) {
        in_guest(options, &ours, &export)?;
    }
    Ok(status)
}

/// On the host, where the benchmark plays the driver.
fn on_host(options: &Options, ours: &Path, export: &Path) -> Result<i32> {
    let measured = Measured {
        ours: ours.into(),
        images: export.into(),
        rounds: options.rounds,
    };
    let mut command = Tools::get()?.bench("lazily", "bench-lazily", &measured)?;
    let info = cargo::released("composefs-tools", "composefs-info")?;
    let status = command.arg("--info").arg(info).status();
    Ok(status.context("cannot run unshare")?.code().unwrap_or(1))
}

/// In a guest, with the driver.
fn in_guest(options: &Options, ours: &Path, export: &Path) -> Result<()> {
    note!("lazy mounts: running a guest (usually 10 minutes a round)");
    let rounds = options.rounds.to_string();
    let mut program = vec!["lazy", "--export", "/export", "--rounds", &rounds];
    program.extend(match options.only {
        Some(Row::First) => Some("--only=first"),
        Some(Row::All) => Some("--only=all"),
        _ => None,
    });
    let at = (export, "export");
    let said = bench_guest::run(&Tools::get()?, ours, at, &program, "bench-lazy")?;
    let said = String::from_utf8(said)?;
    // The figures come last.
    let (table, figures) = said
        .trim_end()
        .rsplit_once('\n')
        .context("the guest prints no figures")?;
    println!("{table}");
    Ok(fs::write(
        place::build("bench-lazy.json")?,
        format!("{figures}\n"),
    )?)
}

/// A directory with the export of an image: of a Debian system with compilers.
fn export(ours: &Path) -> Result<PathBuf> {
    // A root that is there anyway.
    let system = Toolchain::with(Suite::Trixie, "toolchain", &[])?;
    let mkcomposefs = cargo::released("composefs-tools", "mkcomposefs")?;
    let artifact = Artifact {
        name: "bench-export".into(),
        what: "the export of a Debian system".into(),
        usually: "3 minutes",
        inputs: vec!["1".into(), system.root().display().to_string()],
    };
    artifact.get(|dir, log| {
        let mut command = Command::new("bash");
        command.args(["-euc", EXPORT, "bash"]);
        command.args([ours, &mkcomposefs, system.root(), dir]);
        log.run(&mut command)
    })
}

/// Given composefs, mkcomposefs, the root of the system, and where to.
const EXPORT: &str = r#"
cd "$4"
"$1" --repo repository init --algorithm sha256
digest=$("$2" --print-digest --digest-store=repository/objects "$3" image)
"$1" --repo repository fetch image system --digest "$digest" --from repository
"$1" --repo repository export www system
mv www/* .
rm -r repository image www
"#;
