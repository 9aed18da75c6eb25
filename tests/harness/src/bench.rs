// SPDX-License-Identifier: GPL-2.0-only
//! The benchmark of the driver, composefs 1.0.8's mount, EROFS alone and plain ext4 on the same
//! tree, in a guest on the stock kernel.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{bail, Context, Result};
use clap::{Args, ValueEnum};
use sha2::{Digest, Sha256};

use crate::arch::Arch;
use crate::artifact::Artifact;
use crate::jobs::Jobs;
use crate::suite::Suite;
use crate::{guest, note, place, process, qemu, vm};

/// Measures the driver and its peers on the same tree
///
/// The unit is instructions: the guest's one CPU executes one in a nanosecond of its time, whatever
/// else the machine does. Only what two threads cost is in time of the host, where ratios alone mean
/// something.
///
/// Prints a table, and writes build/bench.json, build/bench.svg and what the guest printed,
/// build/bench/*.tsv.
#[derive(Args)]
pub struct Options {
    /// Once more after that; fails unless both runs agree within 1 %
    #[arg(long)]
    repeat: bool,
    /// Also trees of 5, 50 and 500 thousand entries, and one directory of 100 thousand (ten minutes)
    #[arg(long)]
    growth: bool,
    /// Of these directories of the guest's /usr, instead of 7,600 entries; with them at least
    /// bin/true and the libraries that it needs
    #[arg(long, num_args = 1.., value_name = "DIRECTORY")]
    tree: Vec<String>,
    /// Only this
    #[arg(long, conflicts_with_all = ["repeat", "growth"])]
    only: Option<Part>,
}

/// What is measured by itself.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Operations on a tree
    Run,
    /// A program that starts from a slow disk
    Start,
    /// Two threads
    Contended,
}

const TREE: [&str; 5] = ["bin", "lib", "lib64", "share/perl", "share/zsh"];
const SIZES: [&str; 4] = ["5k", "50k", "500k", "dir100k"];

/// What a measurement takes.
struct Bench {
    payload: PathBuf,
    out: PathBuf,
}

/// Runs the benchmark; whether two runs agreed.
pub fn run(options: &Options) -> Result<bool> {
    let out = place::build("bench/x")?.with_file_name("");
    fs::create_dir_all(&out)?;
    let run = vm::RunDirectory::new()?;
    let payload = run.path("payload");
    let path = payload
        .to_str()
        .context("the path of the cache is not text")?;
    let mut jobs = Jobs::new()?;
    jobs.start(&["guest", "root"], false)?;
    jobs.start(&["payload", "--bench", path], false)?;
    jobs.wait()?;
    let bench = Bench { payload, out };

    let tree: Vec<&str> = match options.tree.as_slice() {
        [] => TREE.to_vec(),
        tree => tree.iter().map(String::as_str).collect(),
    };
    // Where programs lie in memory decides how many page tables are made for them.
    let exact = qemu::Machine {
        icount: true,
        append: "norandmaps".into(),
        ..Default::default()
    };
    let is_asked = |part| options.only.is_none_or(|only| only == part);
    let mut parts = Vec::new();
    if is_asked(Part::Run) {
        let disk = bench.disk("tree", &tree)?;
        note!("benchmark: running (usually 5 minutes)");
        bench.measure("run", &disk, "all", exact.clone())?;
        parts.push("run.tsv");
        if options.repeat {
            note!("benchmark: once more");
            bench.measure("again", &disk, "all", exact.clone())?;
        }
    }
    if is_asked(Part::Start) {
        let disk = bench.disk("start", &[])?;
        note!("benchmark: a program that starts (usually 2 minutes)");
        bench.measure("start", &disk, "start", exact.clone())?;
        parts.push("start.tsv");
    }
    if is_asked(Part::Contended) {
        let disk = bench.disk("tree", &tree)?;
        note!("benchmark: two threads (usually 2 minutes)");
        // With a thread for each CPU, QEMU now and then crashes a guest at boot.
        let contended = || {
            let machine = qemu::Machine {
                threads: true,
                ..Default::default()
            };
            bench.measure("contended", &disk, "contended", machine)
        };
        contended()
            .or_else(|_| contended())
            .or_else(|_| contended())?;
        parts.push("contended.tsv");
    }
    if options.growth {
        let disk = bench.disk("growth", &SIZES)?;
        note!("benchmark: large trees (usually 5 minutes)");
        let machine = qemu::Machine {
            memory: "4G".into(),
            ..exact
        };
        bench.measure("growth", &disk, "growth", machine)?;
        parts.push("growth.tsv");
    }
    let all = bench.join("all.tsv", &parts)?;
    process::run(
        bench
            .report(&all, "bench.json")?
            .arg("--plot")
            .arg(place::build("bench.svg")?),
    )?;
    if !options.repeat {
        return Ok(true);
    }
    let again = bench.join(
        "all-again.tsv",
        &["again.tsv", "start.tsv", "contended.tsv"],
    )?;
    let mut report = bench.report(&again, "bench-again.json")?;
    let output = report
        .arg("--earlier")
        .arg(bench.out.join("run.tsv"))
        .output()?;
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        if line.starts_with("differs") || line.contains(" figures") {
            println!("{line}");
        }
    }
    Ok(output.status.success())
}

impl Bench {
    /// A disk with trees to measure, made if it is not there.
    fn disk(&self, kind: &str, what: &[&str]) -> Result<PathBuf> {
        let sum = |path: &Path| -> Result<String> {
            let hash = Sha256::digest(fs::read(path)?);
            Ok(hash.iter().map(|byte| format!("{byte:02x}")).collect())
        };
        let artifact = Artifact {
            name: format!("bench-{kind}"),
            what: format!("disk for the benchmark ({kind})"),
            usually: "5 minutes",
            inputs: [
                vec![
                    "2".into(),
                    sum(&self.payload.join("bin/mkcomposefs"))?,
                    sum(&self.payload.join("bench/bench-prepare"))?,
                    guest::root_image(Arch::Amd64)?.display().to_string(),
                ],
                what.iter().map(|&word| word.into()).collect(),
            ]
            .concat(),
        };
        let dir = artifact.get(|dir, log| {
            let disk = dir.join("disk.img");
            File::create(&disk)?.set_len(12 << 30)?;
            let mut command: Vec<OsString> =
                ["/opt/composefs/bench/bench-prepare", kind, "/dev/vdc"]
                    .map(Into::into)
                    .to_vec();
            command.extend(what.iter().map(Into::into));
            let options = self.options(&disk.display().to_string(), qemu::Machine::default(), 3600);
            let mut tell = |line: &[u8]| {
                let _ = log.line(String::from_utf8_lossy(line).trim_end());
            };
            match vm::run(&options, &vm::Program::Command(command), &mut tell)? {
                0 => Ok(()),
                status => bail!("bench-prepare: status {status}"),
            }
        })?;
        Ok(dir.join("disk.img"))
    }

    fn options(&self, disk: &str, machine: qemu::Machine, timeout: u64) -> vm::Options {
        vm::Options {
            payload: Some(self.payload.clone()),
            timeout: Some(timeout),
            machine: qemu::Machine {
                disks: vec![disk.into()],
                ..machine
            },
            suite: Suite::Trixie,
            log: None,
        }
    }

    /// The guest's figures become NAME.tsv.
    fn measure(&self, name: &str, disk: &Path, what: &str, machine: qemu::Machine) -> Result<()> {
        let script =
            "mkfs.ext4 -q /dev/vdc && mkdir -p /tmp/disk && mount -o ro /dev/vdd /tmp/disk && \
                      exec /opt/composefs/bench/composefs-bench /tmp/disk \"$@\"";
        let command = ["bash", "-c", script, "bash", what, "vdd", "/dev/vdc"].map(OsString::from);
        let machine = qemu::Machine {
            blank_disk: vec![256 << 20],
            ..machine
        };
        let mut options = self.options(&format!("{}:ro", disk.display()), machine, 7200);
        options.log = Some(self.out.join(format!("{name}.log")));
        let mut figures = File::create(self.out.join(format!("{name}.tsv")))?;
        let mut take = |line: &[u8]| {
            let _ = figures.write_all(line);
        };
        match vm::run(&options, &vm::Program::Command(command.to_vec()), &mut take)? {
            0 => Ok(()),
            status => bail!("benchmark: {name}: status {status}; see build/bench/{name}.log"),
        }
    }

    fn join(&self, name: &str, parts: &[&str]) -> Result<PathBuf> {
        let mut all = String::new();
        for part in parts {
            all.push_str(&fs::read_to_string(self.out.join(part))?);
        }
        let path = self.out.join(name);
        fs::write(&path, all)?;
        Ok(path)
    }

    fn report(&self, figures: &Path, json: &str) -> Result<Command> {
        let mut command = Command::new(self.payload.join("bench/bench-report"));
        command.arg(figures).arg("--json").arg(place::build(json)?);
        Ok(command)
    }
}
