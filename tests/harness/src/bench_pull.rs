// SPDX-License-Identifier: GPL-2.0-only
//! The benchmark of pulling images: `composefs` beside composefs-rs, podman, and skopeo with
//! umoci, from one registry.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{bail, Context, Result};
use clap::Args;

use crate::arch::Arch;
use crate::registry::{Measured, Tools, BENCH};
use crate::suite::Suite;
use crate::{cargo, module, note, peers, place, process, qemu, system, vm};

/// Measures pulls of real images beside cfsctl, podman, and skopeo with umoci
///
/// All run in one Debian root, in turns, from a registry on loopback into directories below build/,
/// 15 GB at most. How long it takes until a program of an image runs is measured in a guest, with a
/// smaller image. Prints a table of medians, and writes build/bench-pull.json.
#[derive(Args)]
pub struct Options {
    /// Rounds of each
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// Leave out the guest
    #[arg(long)]
    no_guest: bool,
    /// Leave out what is measured with 100,000 objects
    #[arg(long)]
    no_objects: bool,
}

/// The size of the guest's disk, in bytes.
const DISK: u64 = 4 << 30;

/// What a measurement takes.
struct Bench {
    tools: Tools,
    measured: Measured,
}

/// Runs the benchmark; its exit status.
pub fn run(options: &Options) -> Result<i32> {
    let ours = released()?;
    let tools = Tools::get()?;
    let measured = Measured {
        ours,
        images: tools.images()?,
        rounds: options.rounds,
    };
    let bench = Bench { tools, measured };
    let cfsctl = peers::composefs_rs_as_released()?.join("host/cfsctl");

    let mut command = bench.tools.bench("pull", "bench-pull", &bench.measured)?;
    command.arg("--cfsctl").arg(cfsctl);
    if options.no_objects {
        command.arg("--no-objects");
    }
    if !options.no_guest {
        command.arg("--guest").arg(bench.first_program()?);
    }
    let status = command.status().context("cannot run unshare")?;
    Ok(status.code().unwrap_or(1))
}

/// The command `composefs`, optimised.
pub fn released() -> Result<PathBuf> {
    cargo::programs(Arch::Amd64, "composefs-command", "release")?
        .into_iter()
        .find(|path| path.ends_with("composefs"))
        .context("composefs was not built")
}

impl Bench {
    /// Measures in a guest how long it takes until a program of an image runs; the file with that.
    fn first_program(&self) -> Result<PathBuf> {
        let run = vm::RunDirectory::new()?;
        let payload = run.path("payload");
        self.lay_out(&payload)?;
        let disk = run.path("disk.img");
        self.make_disk(&run.path("tree"), &disk)?;
        let options = vm::Options {
            payload: Some(payload),
            timeout: Some(3600),
            machine: qemu::Machine {
                memory: "3G".into(),
                disks: vec![disk.display().to_string()],
                ..Default::default()
            },
            suite: Suite::Trixie,
            log: Some(place::build("bench-pull.log")?),
        };
        let script = "/opt/composefs/first-program";
        let rounds = self.measured.rounds.to_string();
        let command = [script, "/dev/vdc", &rounds].map(OsString::from);
        note!("first program: running a guest (usually 2 minutes a round)");
        let mut said = Vec::new();
        let mut take = |line: &[u8]| said.extend_from_slice(line);
        match vm::run(&options, &vm::Program::Command(command.to_vec()), &mut take)? {
            0 => {}
            status => bail!("first program: status {status}; see build/bench-pull.log"),
        }
        let path = place::build("bench-pull-guest.json")?;
        fs::write(&path, said)?;
        Ok(path.canonicalize()?)
    }

    /// What the guest finds in /opt/composefs.
    fn lay_out(&self, payload: &Path) -> Result<()> {
        fs::create_dir_all(payload.join("bin"))?;
        let module = module::build(&module::Options {
            suite: Some(Suite::Trixie),
            make: vec!["-s".into()],
            ..Default::default()
        })?;
        fs::copy(
            place::checkout("").join(module),
            payload.join("composefs.ko"),
        )?;
        fs::copy(&self.measured.ours, payload.join("bin/composefs"))?;
        fs::copy(
            place::checkout("scripts/in-guest/first-program"),
            payload.join("first-program"),
        )?;
        process::run(
            Command::new("cp")
                .arg("-r")
                .arg(place::checkout(BENCH))
                .arg(payload.join("bench")),
        )
    }

    /// A disk with the tools, and in /images the storage of a registry with the smaller image.
    fn make_disk(&self, tree: &Path, disk: &Path) -> Result<()> {
        // Hard links cost nothing.
        for (from, to) in [
            (self.tools.root(), tree.to_path_buf()),
            (&self.measured.images.join("small"), tree.join("images")),
        ] {
            process::run(Command::new("cp").arg("-alT").arg(from).arg(to))?;
        }
        system::make_disk(disk, DISK, Some(tree))
    }
}
