// SPDX-License-Identifier: GPL-2.0-only
//! What benchmarks of `tools/bench` measure in a guest, as it takes the driver: in the Debian system
//! that has the other tools.

use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{bail, Result};

use crate::registry::{Tools, BENCH};
use crate::suite::Suite;
use crate::{module, place, process, qemu, system, vm};

/// The size of the system's disk, in bytes.
const DISK: u64 = 4 << 30;

/// Runs a program of `tools/bench` there with these arguments, and with a directory at this name in
/// the root; what it printed. What else the guest says goes to build/NAME.log.
pub fn run(
    tools: &Tools,
    ours: &Path,
    (directory, at): (&Path, &str),
    program: &[&str],
    name: &str,
) -> Result<Vec<u8>> {
    let run = vm::RunDirectory::new()?;
    let payload = run.path("payload");
    lay_out(ours, &payload)?;
    let (tree, disk) = (run.path("tree"), run.path("disk.img"));
    // Hard links cost nothing.
    for (from, to) in [(tools.root(), tree.clone()), (directory, tree.join(at))] {
        process::run(Command::new("cp").arg("-alT").arg(from).arg(to))?;
    }
    system::make_disk(&disk, DISK, Some(&tree))?;
    let options = vm::Options {
        payload: Some(payload),
        timeout: Some(3600),
        machine: qemu::Machine {
            memory: "3G".into(),
            // Time counts, and who reads and who serves are to work at the same time.
            threads: true,
            disks: vec![disk.display().to_string()],
            ..Default::default()
        },
        suite: Suite::Trixie,
        log: Some(place::build(&format!("{name}.log"))?),
    };
    let mut command: Vec<OsString> = ["/opt/composefs/bench-in-system", "/dev/vdc"]
        .map(OsString::from)
        .to_vec();
    command.extend(program.iter().map(OsString::from));
    let mut said = Vec::new();
    let mut take = |line: &[u8]| said.extend_from_slice(line);
    match vm::run(&options, &vm::Program::Command(command), &mut take)? {
        0 => Ok(said),
        status => bail!("{name}: status {status}; see build/{name}.log"),
    }
}

/// What the guest finds in /opt/composefs.
fn lay_out(ours: &Path, payload: &Path) -> Result<()> {
    fs::create_dir_all(payload.join("bin"))?;
    let module = module::build(&module::Options {
        suite: Some(Suite::Trixie),
        make: vec!["-s".into()],
        ..Default::default()
    })?;
    let script = "scripts/in-guest/bench-in-system";
    for (from, to) in [
        (place::checkout("").join(module), "composefs.ko"),
        (ours.to_owned(), "bin/composefs"),
        (place::checkout(script), "bench-in-system"),
    ] {
        fs::copy(from, payload.join(to))?;
    }
    let programs = place::checkout(BENCH);
    process::run(
        Command::new("cp")
            .arg("-r")
            .arg(programs)
            .arg(payload.join("bench")),
    )
}
