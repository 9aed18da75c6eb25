// SPDX-License-Identifier: GPL-2.0-only
//! Systems whose root file system is a composefs image: sealed in a guest, and booted from there by
//! initramfs-tools, dracut, ostree, and as a unified kernel image under Secure Boot.

mod system;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::Args;

use crate::artifact::remove_tree;
use crate::process;
use crate::qemu::{Firmware, Machine, Qemu, Start};
use crate::tap::{Counts, Report};
use crate::{console, deb, machine, note, place, vm};
use system::{System, KEY, SNAKEOIL, SUITE};

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
    };
    let sealed = tests.seal(&run)?;
    tests.by_ostree(&sealed)?;
    tests.under_secure_boot(&sealed, &run)?;
    tests.by_initramfs(&sealed)?;
    let Tests { system, counts, .. } = tests;
    remove_tree(&system.root)?;
    let Counts {
        passed,
        failed,
        skipped,
    } = counts;
    println!("{passed} passed, {failed} failed, {skipped} skipped");
    Ok(failed == 0 && passed > 0)
}

/// What became of a boot.
struct Ended {
    console: String,
    /// What the test in the system printed.
    said: Vec<String>,
    in_time: bool,
}

impl Ended {
    /// Why it stopped: what the firmware refuses is on a line before it tries other disks.
    fn why(&self) -> &str {
        let refused = |line: &&str| FIRMWARE_REFUSES.iter().any(|text| line.contains(text));
        let mut lines = self.console.lines();
        lines.find(refused).unwrap_or_else(|| self.last_line())
    }

    /// The last line on the console that says something.
    fn last_line(&self) -> &str {
        let mut lines = self.console.lines().rev().map(str::trim);
        lines.find(|line| !line.is_empty()).unwrap_or_default()
    }
}

struct Tests {
    system: System,
    disk: PathBuf,
    only: Option<String>,
    counts: Counts,
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
        let log = self.system.logs.join(format!("{file}.console"));
        let out = self.system.logs.join(format!("{file}.tap"));
        // What an earlier run left would be taken for this one's.
        for file in [&log, &out] {
            let _ = fs::remove_file(file);
        }
        qemu.console(&log);
        qemu.port("out", &out);
        let mut child = qemu
            .command(&machine::path()?)
            .stdin(Stdio::null())
            .spawn()
            .context("cannot run QEMU")?;
        let began = Instant::now();
        let mut in_time = true;
        while child.try_wait()?.is_none() {
            let console = fs::read(&log).unwrap_or_default();
            let console = String::from_utf8_lossy(&console);
            // These wait for whoever reads them.
            let stopped = console.contains(STOPS)
                || FIRMWARE_REFUSES.iter().any(|text| console.contains(text));
            if stopped || began.elapsed() > LIMIT {
                in_time = stopped;
                thread::sleep(Duration::from_secs(2));
                child.kill()?;
            }
            thread::sleep(Duration::from_millis(200));
        }
        let lines = BufReader::new(File::open(&out)?).lines();
        Ok(Ended {
            console: String::from_utf8_lossy(&fs::read(&log)?).into_owned(),
            said: lines.collect::<Result<_, _>>()?,
            in_time,
        })
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
        self.report(name, &ended);
        Ok(())
    }

    fn report(&mut self, name: &str, ended: &Ended) {
        let mut tell = |line: String| println!("{name}: {line}");
        let mut report = Report::new(&mut tell);
        for line in &ended.said {
            report.line(line);
        }
        let counts = report.finish();
        let complaints = console::complaints(&ended.console);
        let failure = match (ended.in_time, complaints.first(), counts.passed) {
            (false, ..) => Some(format!("was stopped after {} s", LIMIT.as_secs())),
            (_, Some(line), _) => Some(format!("the kernel complained: {line}")),
            (_, None, 0) => Some(format!("did not start: {}", ended.last_line())),
            _ => None,
        };
        self.counts += counts;
        if let Some(failure) = failure {
            self.tell(name, Some(failure));
        }
    }

    /// It does not start, and the last line on the console has these words.
    fn stops(&mut self, name: &str, start: &Start, disks: &[&Path], words: &[&str]) -> Result<()> {
        if !self.is_wanted(name) {
            return Ok(());
        }
        let ended = self.boot(name, start, disks, false)?;
        let why = ended.why();
        let failure = match words.iter().find(|word| !why.contains(**word)) {
            _ if !ended.said.is_empty() => Some("it started".into()),
            Some(word) => Some(format!("the last line is {why:?}, without {word:?}")),
            None => {
                println!("{name}: {why}");
                None
            }
        };
        self.tell(name, failure);
        Ok(())
    }

    fn tell(&mut self, name: &str, failure: Option<String>) {
        match failure {
            None => self.counts.passed += 1,
            Some(failure) => {
                println!(
                    "{name}: FAILED: {failure}; see {}",
                    self.system.logs.display()
                );
                self.counts.failed += 1;
            }
        }
    }

    /// Seals the system on the disk, in a guest; what the sealed ones are called.
    fn seal(&mut self, run: &vm::RunDirectory) -> Result<BTreeMap<String, String>> {
        let image = run.path("system.img");
        make_disk(&image, Some(&self.system.root))?;
        make_disk(&self.disk, None)?;
        let start = self.kernel(false, "root=/dev/vda rw boot_test=seal");
        let ended = self.boot("seal", &start, &[&image, &self.disk], true)?;
        self.report("seal", &ended);
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
            for (name, what, words) in [
                (
                    "missing",
                    format!("composefs={missing}"),
                    ["no such image", &*missing],
                ),
                (
                    "another image",
                    format!("composefs={other}"),
                    ["wrong digest", digest],
                ),
                (
                    "tampered image",
                    format!("composefs={}", value(sealed, "tampered")?),
                    ["wrong digest", value(sealed, "tampered")?],
                ),
                (
                    "bad signature",
                    "composefs.signature=/composefs/tampered.sig".into(),
                    ["tampered", "signature"],
                ),
            ] {
                let start = self.kernel(is_dracut, &line(&what));
                self.stops(&format!("{tool} {name}"), &start, &disks, &words)?;
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

    /// A unified kernel image, whose command line carries the digest, under Secure Boot.
    fn under_secure_boot(
        &mut self,
        sealed: &BTreeMap<String, String>,
        run: &vm::RunDirectory,
    ) -> Result<()> {
        let start = Start::Firmware(Firmware {
            code: self
                .system
                .root
                .join("usr/share/OVMF/OVMF_CODE_4M.secboot.fd"),
            variables: self
                .system
                .root
                .join("usr/share/OVMF/OVMF_VARS_4M.snakeoil.fd"),
            copy: run.path("variables.fd"),
        });
        let disk = self.disk.clone();
        let good = format!("composefs.digest=v1-sha256-12:{}", value(sealed, "digest")?);
        let signed = self.unified(run, "signed", &good, true)?;
        self.starts("secure boot", &start, &[&disk, &signed])?;
        let bad = format!("composefs={}", value(sealed, "tampered")?);
        let tampered = self.unified(run, "tampered", &bad, true)?;
        self.stops(
            "secure boot tampered image",
            &start,
            &[&disk, &tampered],
            &["wrong digest"],
        )?;
        let unsigned = self.unified(run, "unsigned", &good, false)?;
        self.stops(
            "secure boot unsigned",
            &start,
            &[&disk, &unsigned],
            &["Access Denied"],
        )
    }

    /// A disk that the firmware boots a unified kernel image from.
    fn unified(
        &self,
        run: &vm::RunDirectory,
        name: &str,
        line: &str,
        is_signed: bool,
    ) -> Result<PathBuf> {
        let release = &self.system.release;
        let sign = match is_signed {
            true => {
                format!("--secureboot-private-key={KEY} --secureboot-certificate={SNAKEOIL}.pem")
            }
            false => String::new(),
        };
        self.system.sh(&format!(
            "ukify build --linux=/boot/vmlinuz-{release} --initrd=/boot/dracut.img --output=/boot/uki.efi \
                 --cmdline='root=/dev/vda rw console=ttyS0 panic=-1 boot_test=composefs {line}' {sign}
             rm -f /boot/esp.img; truncate -s 256M /boot/esp.img
             mkfs.vfat /boot/esp.img
             mmd -i /boot/esp.img ::/EFI ::/EFI/BOOT
             mcopy -i /boot/esp.img /boot/uki.efi ::/EFI/BOOT/BOOTX64.EFI"
        ))?;
        let esp = run.path(name);
        fs::rename(self.system.boot_file("esp.img"), &esp)?;
        Ok(esp)
    }
}

fn value<'a>(sealed: &'a BTreeMap<String, String>, key: &str) -> Result<&'a str> {
    let value = sealed.get(key).map(|value| &**value);
    value.with_context(|| format!("sealing gave no {key}"))
}

/// A disk with fs-verity, with what is in `root`.
fn make_disk(image: &Path, root: Option<&Path>) -> Result<()> {
    File::create(image)?.set_len(12 << 30)?;
    let mut command = Command::new(machine::programs()?.join("mkfs.ext4"));
    command.args(["-q", "-b", "4096", "-O", "verity"]);
    if let Some(root) = root {
        command.arg("-d").arg(root);
    }
    process::run(command.arg(image))
}
