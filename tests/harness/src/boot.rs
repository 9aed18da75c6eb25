// SPDX-License-Identifier: GPL-2.0-only
//! Systems whose root file system is a composefs image: sealed in a guest, and booted from there by
//! initramfs-tools, dracut, ostree, and as a unified kernel image under Secure Boot.

mod sealed;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;

use crate::artifact::remove_tree;
use crate::qemu::{Firmware, Machine, Qemu, Start};
use crate::system::{self, Ended};
use crate::tap::Counts;
use crate::{deb, note, place, vm};
use sealed::{System, KEY, SNAKEOIL, SUITE};

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
    };
    let sealed = tests.seal(&run)?;
    tests.by_ostree(&sealed)?;
    tests.under_secure_boot(&sealed, &run)?;
    tests.by_initramfs(&sealed)?;
    let Tests { system, counts, .. } = tests;
    remove_tree(&system.root)?;
    println!("{counts}");
    Ok(counts.is_good())
}

/// Why it stopped: what the firmware refuses is on a line before it tries other disks.
fn why(ended: &Ended) -> &str {
    let refused = |line: &&str| FIRMWARE_REFUSES.iter().any(|text| line.contains(text));
    let mut lines = ended.console.lines();
    lines.find(refused).unwrap_or_else(|| ended.last_line())
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
        Ok(())
    }

    /// It does not start, and the last line on the console has these words.
    fn stops(&mut self, name: &str, start: &Start, disks: &[&Path], words: &[&str]) -> Result<()> {
        if !self.is_wanted(name) {
            return Ok(());
        }
        let ended = self.boot(name, start, disks, false)?;
        let why = why(&ended);
        self.counts += match words.iter().find(|word| !why.contains(**word)) {
            _ if !ended.said.is_empty() => ended.failure(name, "it started"),
            Some(word) => {
                ended.failure(name, &format!("the last line is {why:?}, without {word:?}"))
            }
            None => {
                println!("{name}: {why}");
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
