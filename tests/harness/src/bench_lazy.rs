// SPDX-License-Identifier: GPL-2.0-only
//! The benchmark of objects that come when they are opened, over a link, beside fetching all of them
//! first.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use clap::Args;

use crate::artifact::Artifact;
use crate::registry::Tools;
use crate::suite::Suite;
use crate::toolchain::Toolchain;
use crate::{bench_guest, cargo, note, place};

/// Measures `mount --lazy` over a link of 100 Mbit/s and 20 ms beside `fetch`
///
/// How long it takes until a program of an image of more than 1 GB prints something, and until all of
/// the image was read, in a guest. Prints a table of medians, and writes build/bench-lazy.json.
#[derive(Args)]
pub struct Options {
    /// Rounds of each
    #[arg(long, default_value_t = 1)]
    rounds: u32,
}

/// Runs the benchmark; its exit status.
pub fn run(options: &Options) -> Result<i32> {
    let ours = cargo::released("composefs-command", "composefs")?;
    let export = export(&ours)?;
    note!("lazy mounts: running a guest (usually 10 minutes a round)");
    let rounds = options.rounds.to_string();
    let program = ["lazy", "--export", "/export", "--rounds", &rounds];
    let at = (export.as_path(), "export");
    let said = bench_guest::run(&Tools::get()?, &ours, at, &program, "bench-lazy")?;
    let said = String::from_utf8(said)?;
    // The figures come last.
    let (table, figures) = said
        .trim_end()
        .rsplit_once('\n')
        .context("the guest prints no figures")?;
    println!("{table}");
    fs::write(place::build("bench-lazy.json")?, format!("{figures}\n"))?;
    Ok(0)
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
