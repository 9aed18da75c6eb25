// SPDX-License-Identifier: GPL-2.0-only
//! Systems whose root file system is a composefs image: sealed in a guest, and booted from there by
//! initramfs-tools, dracut, ostree, and as a unified kernel image under Secure Boot.

mod sealed;
mod secure;
mod stopped;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;

use crate::artifact::remove_tree;
use crate::qemu::{Machine, Qemu, Start};
use crate::system::{self, Ended};
use crate::tap::Counts;
use crate::{deb, note, place, vm};
use sealed::{System, SUITE};
use stopped::{Stage, Stopped};

/// Boots Debian systems whose root file system is a composefs image
///
/// Sealed in a guest, booted by initramfs-tools, dracut, ostree, and under Secure Boot; and not
/// booted where something was tampered with. What the guests print is in build/boot.
#[derive(Args)]
pub struct Options {
    /// Packages that are built already
    #[arg(long, value_name = "DIR")]
    packages: Option<PathBuf>,
    /// Only boots with this in their names, after the system was sealed
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
}

/// How long an emulated system may take.
const LIMIT: Duration = Duration::from_secs(900);

/// The size of the disks, in bytes.
const DISK: u64 = 12 << 30;

/// What an initramfs ends with that finds no root, and what the firmware says.
const STOPS: &str = "This system does not start: ";
const FIRMWARE_REFUSES: [&str; 2] = ["Access Denied", "Security Violation"];

/// Runs the tests; whether nothing failed.
pub fn run(options: &Options) -> Result<bool> {
    let packages = match &options.packages {
        Some(dir) => dir.clone(),
        None => deb::build()?,
    };
    let run = vm::RunDirectory::new()?;
    let logs = place::build("boot/x")?.with_file_name("");
    fs::create_dir_all(&logs)?;
    let system = System::new(&run, logs)?;
    system.install(&packages)?;
    let mut tests = Tests {
        system,
        disk: run.path("disk.img"),
        only: options.only.clone(),
        counts: Counts::default(),
        stopped: Stopped::default(),
    };
    let sealed = tests.seal(&run)?;
    tests.by_ostree(&sealed)?;
    tests.under_secure_boot(&sealed, &run)?;
    tests.by_initramfs(&sealed)?;
    let Tests {
        system,
        counts,
        stopped,
        ..
    } = tests;
    remove_tree(&system.root)?;
    print!("{stopped}");
    println!("{counts}");
    Ok(counts.is_good())
}

/// Why it stopped: what the firmware refuses is on a line before it tries other disks; what shim
/// does, in a frame.
fn why(ended: &Ended) -> &str {
    let refused = |part: &&str| FIRMWARE_REFUSES.iter().any(|text| part.contains(text));
    let mut parts = ended.console.split(['\n', '│']).map(str::trim);
    parts.find(refused).unwrap_or_else(|| ended.last_line())
}

struct Tests {
    system: System,
    disk: PathBuf,
    only: Option<String>,
    counts: Counts,
    stopped: Stopped,
}

/// A boot that must end before there is a system.
struct Stop<'a> {
    name: &'a str,
    /// What was tampered with.
    tampered: &'a str,
    /// Who must stop it.
    stage: Stage,
    /// What the line has that says why.
    words: &'a [&'a str],
}

impl Tests {
    /// Boots; the disk is as it was sealed again afterwards, unless `keeps` what is written.
    fn boot(&self, name: &str, start: &Start, disks: &[&Path], keeps: bool) -> Result<Ended> {
        note!("{name}: booting (usually 1 minute)");
        let machine = Machine::default();
        let mut qemu = Qemu::new(&machine, SUITE, start)?;
        for disk in disks {
            qemu.disk(disk, if keeps { "" } else { ",snapshot=on" })?;
        }
        let file = name.replace(' ', "-");
        let logs = &self.system.logs;
        let [first, second] = FIRMWARE_REFUSES;
        system::boot(
            qemu,
            &logs.join(format!("{file}.console")),
            &logs.join(format!("{file}.tap")),
            LIMIT,
            // These wait for whoever reads them.
            &[STOPS, first, second],
        )
    }

    /// The kernel, with an initramfs and a command line.
    fn kernel(&self, is_dracut: bool, line: &str) -> Start {
        Start::Kernel {
            vmlinuz: self.system.vmlinuz(),
            initrd: self.system.initrd(is_dracut),
            append: line.into(),
        }
    }

    fn is_wanted(&self, name: &str) -> bool {
        self.only.as_ref().is_none_or(|only| name.contains(&**only))
    }

    /// It starts, and the test in it finds what it should.
    fn starts(&mut self, name: &str, start: &Start, disks: &[&Path]) -> Result<()> {
        if !self.is_wanted(name) {
            return Ok(());
        }
        let ended = self.boot(name, start, disks, false)?;
        self.counts += ended.report(name);
        let said = |line: &String| Some(line.strip_prefix("# refused: ")?.to_owned());
        for said in ended.said.iter().filter_map(said) {
            self.stopped.add(name, "an object", Stage::Driver, &said);
        }
        Ok(())
    }

    /// It does not start, and what is on the console says why.
    fn stops(&mut self, stop: &Stop, start: &Start, disks: &[&Path]) -> Result<()> {
        let name = stop.name;
        if !self.is_wanted(name) {
            return Ok(());
        }
        let ended = self.boot(name, start, disks, false)?;
        let why = why(&ended);
        self.counts += match stop.words.iter().find(|word| !why.contains(**word)) {
            _ if !ended.said.is_empty() => ended.failure(name, "it started"),
            Some(word) => {
                ended.failure(name, &format!("the last line is {why:?}, without {word:?}"))
            }
            None => {
                self.stopped.add(name, stop.tampered, stop.stage, why);
                Counts::of(1, 0, 0)
            }
        };
        Ok(())
    }

    /// Seals the system on the disk, in a guest; what the sealed ones are called.
    fn seal(&mut self, run: &vm::RunDirectory) -> Result<BTreeMap<String, String>> {
        let image = run.path("system.img");
        system::make_disk(&image, DISK, Some(&self.system.root))?;
        system::make_disk(&self.disk, DISK, None)?;
        let start = self.kernel(false, "root=/dev/vda rw boot_test=seal");
        let ended = self.boot("seal", &start, &[&image, &self.disk], true)?;
        self.counts += ended.report("seal");
        fs::remove_file(&image)?;
        let values = ended.said.iter().filter_map(|line| {
            let (key, value) = line.strip_prefix("# ")?.split_once(": ")?;
            Some((key.to_owned(), value.to_owned()))
        });
        Ok(values.collect())
    }

    fn by_initramfs(&mut self, sealed: &BTreeMap<String, String>) -> Result<()> {
        let digest = value(sealed, "digest")?;
        let other = value(sealed, "other")?;
        let disk = self.disk.clone();
        let disks = [&*disk];
        for (tool, is_dracut) in [("initramfs-tools", false), ("dracut", true)] {
            let line = |what: &str| format!("root=/dev/vda rw boot_test=composefs {what}");
            for (name, what) in [
                ("digest", format!("composefs.digest=v1-sha256-12:{digest}")),
                (
                    "signature",
                    "composefs.signature=/composefs/signed.sig".into(),
                ),
            ] {
                let start = self.kernel(is_dracut, &line(&what));
                self.starts(&format!("{tool} {name}"), &start, &disks)?;
            }
            let missing = "0".repeat(64);
            for (name, tampered, what, words) in [
                (
                    "missing",
                    "the image, which is gone",
                    format!("composefs={missing}"),
                    ["no such image", &*missing],
                ),
                (
                    "another image",
                    "the image, which is another",
                    format!("composefs={other}"),
                    ["wrong digest", digest],
                ),
                (
                    "tampered image",
                    "a byte of the image",
                    format!("composefs={}", value(sealed, "tampered")?),
                    ["wrong digest", value(sealed, "tampered")?],
                ),
                (
                    "bad signature",
                    "a byte of the image, which is signed",
                    "composefs.signature=/composefs/tampered.sig".into(),
                    ["tampered", "signature"],
                ),
            ] {
                let start = self.kernel(is_dracut, &line(&what));
                let stop = Stop {
                    name: &format!("{tool} {name}"),
                    tampered,
                    stage: Stage::SetupRoot,
                    words: &words,
                };
                self.stops(&stop, &start, &disks)?;
            }
        }
        Ok(())
    }

    fn by_ostree(&mut self, sealed: &BTreeMap<String, String>) -> Result<()> {
        let disk = self.disk.clone();
        let line = format!(
            "root=/dev/vda rw boot_test=ostree ostree={}",
            value(sealed, "ostree")?
        );
        let start = self.kernel(true, &line);
        self.starts("ostree", &start, &[&disk])
    }
}

fn value<'a>(sealed: &'a BTreeMap<String, String>, key: &str) -> Result<&'a str> {
    let value = sealed.get(key).map(|value| &**value);
    value.with_context(|| format!("sealing gave no {key}"))
}
