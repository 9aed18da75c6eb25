// SPDX-License-Identifier: GPL-2.0-only
//! The benchmark of objects that come when they are opened, over a link, beside fetching all of them
//! first.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};

use crate::artifact::Artifact;
use crate::registry::{Measured, Tools};
use crate::suite::Suite;
use crate::toolchain::Toolchain;
use crate::{bench_guest, cargo, note, place, process};

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
    let list = place::build("bench-lazy.objects")?;
    fs::write(&list, objects(export)?)?;
    let measured = Measured {
        ours: ours.into(),
        images: export.into(),
        rounds: options.rounds,
    };
    let mut command = Tools::get()?.bench("lazily", "bench-lazily", &measured)?;
    let status = command.arg("--objects").arg(list).status();
    Ok(status.context("cannot run unshare")?.code().unwrap_or(1))
}

/// The paths of the image's objects in a store, in the order of its files.
fn objects(export: &Path) -> Result<String> {
    let images = fs::read_dir(export.join("images"))?;
    let mut paths = images.map(|entry| Ok(entry?.path()));
    let image = paths.find(|path: &Result<PathBuf>| {
        path.as_ref()
            .is_ok_and(|path| path.extension().is_some_and(|end| end == "cfs"))
    });
    let info = cargo::released("composefs-tools", "composefs-info")?;
    let dump = process::output(
        Command::new(info)
            .arg("dump")
            .arg(image.context("the export has no image")??),
    )?;
    let mut seen = HashSet::new();
    let objects = dump.lines().filter_map(|line| {
        let fields: Vec<_> = line.split(' ').collect();
        let is_object = fields.get(DIGEST).is_some_and(|digest| *digest != "-");
        fields.get(PAYLOAD).copied().filter(|_| is_object)
    });
    let objects = objects.filter(|path| seen.insert(path.to_owned()));
    Ok(objects.map(|path| format!("{path}\n")).collect())
}

/// Which field of a line of a dump has the path of the object, and which has its digest if there is one.
const PAYLOAD: usize = 8;
const DIGEST: usize = 10;

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
