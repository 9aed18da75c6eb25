// SPDX-License-Identifier: GPL-2.0-only
//! QEMU's command line.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{bail, Context, Result};
use clap::Args;

use crate::arch::Arch;
use crate::suite::Suite;

/// What the guest's machine is like.
#[derive(Args, Clone)]
pub struct Machine {
    /// Memory
    #[arg(long, value_name = "SIZE", default_value = "2G")]
    pub memory: String,
    /// CPUs
    #[arg(long, value_name = "N", default_value_t = 2)]
    pub cpus: u32,
    /// Size of the fresh disk at /scratch: ext4 with fs-verity, 4-KiB blocks, sparse on the host
    #[arg(long, value_name = "SIZE", default_value = "12G", value_parser = bytes)]
    pub scratch_size: u64,
    /// One more fresh disk, not formatted; the first is /dev/vdc
    #[arg(long, value_name = "SIZE", value_parser = bytes)]
    pub blank_disk: Vec<u64>,
    /// One more disk from a raw file, after the blank ones; without :ro the guest's writes change
    /// FILE
    #[arg(long = "disk", value_name = "FILE[:ro]")]
    pub disks: Vec<String>,
    /// One guest nanosecond is one instruction: repeatable counts, one CPU (for benchmarks)
    #[arg(long)]
    pub icount: bool,
    /// A host thread for each CPU, so that they run at the same time
    #[arg(long)]
    pub threads: bool,
    /// More for the kernel command line
    #[arg(long, value_name = "ARGUMENTS", default_value = "")]
    pub append: String,
}

impl Machine {
    /// The sizes of the disks that are made for a run.
    pub fn fresh_disks(&self) -> impl Iterator<Item = u64> + '_ {
        std::iter::once(self.scratch_size).chain(self.blank_disk.iter().copied())
    }
}

impl Default for Machine {
    fn default() -> Self {
        Self {
            memory: "2G".into(),
            cpus: 2,
            scratch_size: 12 << 30,
            blank_disk: Vec::new(),
            disks: Vec::new(),
            icount: false,
            threads: false,
            append: String::new(),
        }
    }
}

/// A size in bytes, with an optional K, M, G or T.
fn bytes(text: &str) -> Result<u64, String> {
    let (number, unit) = match text.strip_suffix(['K', 'M', 'G', 'T']) {
        Some(number) => (number, text.chars().last()),
        None => (text, None),
    };
    let shift = match unit {
        Some('K') => 10,
        Some('M') => 20,
        Some('G') => 30,
        Some('T') => 40,
        _ => 0,
    };
    let number: u64 = number.parse().map_err(|_| "not a size".to_owned())?;
    number
        .checked_mul(1 << shift)
        .ok_or_else(|| "too large".into())
}

/// What the machine starts with.
pub enum Start {
    /// A kernel.
    Kernel {
        vmlinuz: PathBuf,
        initrd: PathBuf,
        /// More for its command line.
        append: String,
    },
    /// Firmware with Secure Boot, which looks for something to start on the disks.
    Firmware(Firmware),
}

/// UEFI firmware.
pub struct Firmware {
    pub code: PathBuf,
    /// Its variables, with the keys that it trusts.
    pub variables: PathBuf,
    /// A place for those as it changes them.
    pub copy: PathBuf,
}

/// A QEMU to be run.
pub struct Qemu {
    arguments: Vec<OsString>,
    arch: Arch,
    disks: u32,
    ports: u32,
}

impl Qemu {
    pub fn new(machine: &Machine, suite: Suite, start: &Start) -> Result<Self> {
        let mut qemu = Self {
            arguments: Vec::new(),
            arch: suite.arch(),
            disks: 0,
            ports: 0,
        };
        let accel = std::env::var("COMPOSEFS_VM_ACCEL").unwrap_or_else(|_| "tcg".into());
        let mut cpus = machine.cpus;
        let (accel, cpu): (String, _) = match (&*accel, machine.icount) {
            ("tcg", true) => {
                qemu.add(["-icount", "shift=0,sleep=off"]);
                cpus = 1;
                ("tcg".into(), "max")
            }
            // The same; of what it has for longer vectors, glibc and the kernel make use, and nobody
            // here is faster by it. Pointers are signed in a way that is soon computed.
            ("tcg", false) if qemu.arch == Arch::Arm64 => (
                "tcg,thread=single".into(),
                "max,sve=off,sme=off,pauth-impdef=on",
            ),
            // One thread for all CPUs. With one each, twice the CPU time goes into waiting for each
            // other, and QEMU has run stale translations of code that the kernel had just patched
            // (Oops: int3). Emulated AVX2 is slower than the plain instructions that it replaces,
            // threefold for hashing.
            ("tcg", false) => {
                let thread = if machine.threads { "multi" } else { "single" };
                (format!("tcg,thread={thread}"), "max,-avx2")
            }
            ("kvm", false) => ("kvm".into(), "host"),
            ("kvm", true) => bail!("--icount needs emulated CPUs: COMPOSEFS_VM_ACCEL=tcg"),
            _ => bail!("COMPOSEFS_VM_ACCEL must be tcg or kvm"),
        };
        qemu.add(["-nodefaults", "-no-user-config", "-display", "none"]);
        qemu.add([
            "-no-reboot",
            "-m",
            &machine.memory,
            "-accel",
            &accel,
            "-cpu",
            cpu,
        ]);
        qemu.add(["-smp", &cpus.to_string()]);
        match start {
            Start::Kernel {
                vmlinuz,
                initrd,
                append,
            } => {
                let machine = match qemu.arch {
                    Arch::Amd64 => "pc",
                    Arch::Arm64 => "virt",
                };
                qemu.add(["-machine", machine]);
                qemu.kernel(suite, vmlinuz, initrd, append);
            }
            Start::Firmware(firmware) => qemu.firmware(firmware)?,
        }
        Ok(qemu)
    }

    /// Only code in system management mode may change the firmware's variables.
    fn firmware(&mut self, firmware: &Firmware) -> Result<()> {
        fs::copy(&firmware.variables, &firmware.copy)?;
        self.add(["-machine", "q35,smm=on"]);
        self.add(["-global", "driver=cfi.pflash01,property=secure,value=on"]);
        let code = format!("{},readonly=on", firmware.code.display());
        for file in [code, firmware.copy.display().to_string()] {
            let drive = format!("if=pflash,format=raw,file={file}");
            self.add(["-drive", &drive]);
        }
        Ok(())
    }

    fn kernel(&mut self, suite: Suite, vmlinuz: &Path, initrd: &Path, append: &str) {
        self.add(["-kernel"]);
        self.add([vmlinuz]);
        self.add(["-initrd"]);
        self.add([initrd]);

        // Which interrupt a disk has, ACPI computes in its own language, which takes the debug
        // kernel half a minute a disk: as long as ACPI lets anything take, and without its
        // interrupt a disk never answers. The table for several processors says it, too.
        //
        // While the kernel looks at what the first CPU can do, it believes for a moment that it
        // cannot do 5-level paging. For KASAN all memory is wild then, and an interrupt that comes
        // in that moment makes a report, after which lockdep is off.
        let debug = if suite.is_debug() {
            "acpi=noirq no5lvl "
        } else {
            ""
        };
        // Emulated CPUs on a busy host stand still for seconds at a time: watchdogs that took this
        // for a bug would make the tests lie. A real hang still shows up.
        self.add([
            "-append",
            &format!(
                "console={} panic=-1 oops=panic watchdog_thresh=60 \
                 rcupdate.rcu_cpu_stall_timeout=120 no_timer_check random.trust_cpu=on {debug}{append}",
                serial_port(self.arch, 0),
            ),
        ]);
    }

    fn add<S: AsRef<OsStr>>(&mut self, arguments: impl IntoIterator<Item = S>) {
        self.arguments.extend(
            arguments
                .into_iter()
                .map(|argument| argument.as_ref().to_owned()),
        );
    }

    /// A disk from a raw file, with more of QEMU's options for it.
    pub fn disk(&mut self, file: &Path, options: &str) -> Result<()> {
        let file = file
            .to_str()
            .context("the path of a disk is not text")?
            .replace(',', ",,");
        let nr = self.disks;
        self.disks += 1;
        self.add([
            "-drive",
            &format!("file={file},if=none,id=disk{nr},format=raw,cache=unsafe{options}"),
            "-device",
            &format!("virtio-blk-pci,drive=disk{nr}"),
        ]);
        Ok(())
    }

    /// A disk as it is given on the command line.
    pub fn given_disk(&mut self, disk: &str) -> Result<()> {
        let (file, options) = match disk.strip_suffix(":ro") {
            Some(file) => (file, ",readonly=on"),
            None => (disk, ""),
        };
        let file = PathBuf::from(file);
        fs::File::open(&file).with_context(|| format!("cannot read {}", file.display()))?;
        self.disk(&file, options)
    }

    /// The kernel's console, into a file.
    pub fn console(&mut self, file: &Path) {
        let chardev = format!("file,id=console,path={}", file.display());
        self.add(["-chardev", &chardev, "-serial", "chardev:console"]);
    }

    /// A second serial port, for the user.
    pub fn terminal(&mut self) {
        self.add([
            "-chardev",
            "stdio,id=tty,signal=off",
            "-serial",
            "chardev:tty",
        ]);
    }

    /// A port by which the guest writes to a file.
    pub fn port(&mut self, name: &str, file: &Path) {
        if self.ports == 0 {
            self.add(["-device", "virtio-serial-pci"]);
        }
        self.ports += 1;
        let nr = self.ports;
        self.add([
            "-chardev",
            &format!("file,id={name},path={}", file.display()),
            "-device",
            &format!("virtserialport,chardev={name},nr={nr},name={name}"),
        ]);
    }

    /// Should this process be killed, QEMU ends as well.
    pub fn command(&self, path: &OsStr) -> Command {
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "TERM", self.arch.qemu()])
            .args(&self.arguments)
            .env("PATH", path);
        command
    }
}

/// The name of a serial port in a guest.
fn serial_port(arch: Arch, number: u8) -> String {
    let driver = match arch {
        Arch::Amd64 => "ttyS",
        Arch::Arm64 => "ttyAMA",
    };
    format!("{driver}{number}")
}

/// What the guest has of [`Qemu::terminal`].
pub fn terminal_device(arch: Arch) -> String {
    format!("/dev/{}", serial_port(arch, 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units() {
        assert_eq!(bytes("12G"), Ok(12 << 30));
        assert_eq!(bytes("512"), Ok(512));
        assert!(bytes("G").is_err() && bytes("1X").is_err() && bytes("99999999999T").is_err());
    }

    #[test]
    fn disks_are_numbered_and_commas_escaped() {
        let start = Start::Kernel {
            vmlinuz: "k".into(),
            initrd: "i".into(),
            append: String::new(),
        };
        let mut qemu = Qemu::new(&Machine::default(), Suite::Trixie, &start).unwrap();
        qemu.disk(Path::new("/a,b"), "").unwrap();
        qemu.disk(Path::new("/c"), ",readonly=on").unwrap();
        let all: Vec<_> = qemu.arguments.iter().map(|a| a.to_string_lossy()).collect();
        let all = all.join(" ");
        assert!(all.contains("file=/a,,b,if=none,id=disk0,"));
        assert!(all.contains("id=disk1,format=raw,cache=unsafe,readonly=on"));
        assert!(!all.contains("acpi=noirq"));
    }
}
