// SPDX-License-Identifier: GPL-2.0-only
//! The Debian packages, installed as an administrator does it: a Debian system with a stock kernel,
//! booted as it is, and then with a newer kernel.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{bail, Result};
use clap::Args;

use crate::artifact::{remove_tree, Artifact};
use crate::process::Log;
use crate::qemu::{Machine, Qemu, Start};
use crate::root::{self, Variant};
use crate::suite::Suite;
use crate::tap::Counts;
use crate::versions::StockKernel;
use crate::{deb, note, place, system, versions, vm};

/// Installs the Debian packages in systems with stock kernels, boots them, and removes them again
///
/// In trixie with a kernel of backports that is not the newest, which is then upgraded, and in
/// forky. DKMS builds the module for each of them. What the guests print is in build/packages.
#[derive(Args)]
pub struct Options {
    /// Only this one
    #[arg(long)]
    suite: Option<Suite>,
    /// Packages that are built already
    #[arg(long, value_name = "DIR")]
    packages: Option<PathBuf>,
}

/// What is there before: a system that can be booted, and what the packages depend on.
const PACKAGES: &[&str] = &[
    "ca-certificates",
    "systemd-sysv",
    "initramfs-tools",
    "e2fsprogs",
    "fsverity",
    "libcurl3t64-gnutls",
    "dkms",
    "bindgen",
    "gcc",
    "make",
    "rust-src",
    "rustc",
    "xz-utils",
    "man-db",
    "libc6-dev",
    "pkgconf",
];

/// What kernels of backports need in a newer version than is in trixie.
const OF_BACKPORTS: &str = "linux-base/trixie-backports";

/// The C tools, which ours replace, and a program that uses their library; trixie has none. And one
/// that runs containers, with what it asks systemd by for their control groups, and what maps several
/// owners for it.
const C_TOOLS: [&str; 5] = ["composefs", "ostree", "podman", "dbus", "uidmap"];

/// The size of the disk, in bytes.
const DISK: u64 = 16 << 30;

/// How long an emulated system may take to boot and run its tests.
const LIMIT: Duration = Duration::from_secs(1800);

/// Runs the tests; whether nothing failed.
pub fn run(options: &Options) -> Result<bool> {
    let packages = match &options.packages {
        Some(dir) => dir.clone(),
        None => deb::build()?,
    };
    let mut counts = Counts::default();
    let suites = match options.suite {
        Some(suite) => vec![suite],
        None => vec![Suite::Trixie, Suite::Forky],
    };
    for suite in suites {
        counts += in_suite(suite, &packages)?;
    }
    println!("{counts}");
    Ok(counts.is_good())
}

fn in_suite(suite: Suite, packages: &Path) -> Result<Counts> {
    let kernels = versions::kernels(suite, "amd64")?;
    let logs = place::build("packages/x")?.with_file_name(suite.name());
    fs::create_dir_all(&logs)?;
    let log = Log::create(logs.join("install.log"))?;
    let run = vm::RunDirectory::new()?;
    let system = System {
        root: run.path("root"),
        suite,
        logs,
    };
    let (oldest, newest) = match kernels.as_slice() {
        [.., old, new] => (old, Some(new)),
        [only] => (only, None),
        [] => bail!("{suite} has no kernel with source, headers and image in one version"),
    };
    let base = base(suite, oldest)?;
    log.run(Command::new("cp").arg("-a").arg(&base).arg(&system.root))?;

    note!(
        "{suite}: installing the packages, for {} (usually 3 minutes)",
        oldest.release
    );
    system.install(packages, &log)?;
    let mut counts = system.boot(&oldest.release, newest.is_none(), &run)?;
    if let Some(newest) = newest {
        note!(
            "{suite}: upgrading the kernel to {} (usually 4 minutes)",
            newest.release
        );
        system.apt(&names(newest), &log)?;
        counts += system.boot(&newest.release, true, &run)?;
    }
    remove_tree(&system.root)?;
    Ok(counts)
}

/// NAME=VERSION of what is installed of a kernel.
fn names(kernel: &StockKernel) -> Vec<String> {
    let StockKernel {
        release,
        version,
        source,
        ..
    } = kernel;
    let image = format!("linux-image-{release}");
    [&image, &format!("linux-headers-{release}"), source]
        .map(|name| format!("{name}={version}"))
        .into()
}

/// A system with that kernel, without our packages.
fn base(suite: Suite, kernel: &StockKernel) -> Result<PathBuf> {
    let names = names(kernel);
    let mut packages: Vec<_> = names.iter().map(String::as_str).collect();
    packages.extend(PACKAGES);
    match suite {
        Suite::Forky => packages.extend(C_TOOLS),
        _ => packages.push(OF_BACKPORTS),
    }
    let artifact = Artifact {
        name: format!("system-{suite}"),
        what: format!("system with {}", kernel.release),
        usually: "2 minutes",
        inputs: packages.iter().map(|&name| name.into()).collect(),
    };
    let dir = artifact.get(|dir, log| {
        let root = dir.join("root");
        root::make(&root, suite, Variant::Important, &packages, &[], log)
    })?;
    Ok(dir.join("root"))
}

struct System {
    root: PathBuf,
    suite: Suite,
    logs: PathBuf,
}

impl System {
    /// A command in it.
    fn command(&self, program: &str) -> Result<Command> {
        let mut command = root::enter(&self.root, &[])?;
        command.args(["DEBIAN_FRONTEND=noninteractive", program]);
        command.current_dir("/");
        Ok(command)
    }

    fn apt(&self, packages: &[String], log: &Log) -> Result<()> {
        log.run(self.command("apt-get")?.args(["-q", "update"]))?;
        log.run(
            self.command("apt-get")?
                .args([
                    "-q",
                    "-y",
                    "--no-install-recommends",
                    "--no-remove",
                    "install",
                ])
                .args(packages),
        )
    }

    fn install(&self, packages: &Path, log: &Log) -> Result<()> {
        let files = system::copy_packages(packages, &self.root, |_| true)?;
        log.run(
            self.command("apt-get")?
                .args(["-q", "-y", "--no-install-recommends", "install"])
                .args(&files),
        )?;
        let test = place::checkout("scripts/in-guest/packages");
        fs::copy(test, self.root.join("root/test"))?;
        fs::write(
            self.root.join("etc/systemd/system/composefs-test.service"),
            "[Unit]\nAfter=multi-user.target\n[Service]\nType=oneshot\n\
             ExecStart=/bin/bash /root/test\nExecStopPost=/bin/systemctl poweroff --force\n\
             [Install]\nWantedBy=multi-user.target\n",
        )?;
        log.run(
            self.command("systemctl")?
                .args(["enable", "composefs-test.service"]),
        )
    }

    /// Boots it with one of its kernels, and has it test itself; `removes` the packages in the end.
    fn boot(&self, release: &str, removes: bool, run: &vm::RunDirectory) -> Result<Counts> {
        note!("{}: booting {release} (usually 4 minutes)", self.suite);
        fs::write(
            self.root.join("root/settings"),
            format!(
                "release={release} removes={} keeps={}\n",
                u8::from(removes),
                match self.suite {
                    Suite::Forky => C_TOOLS[1],
                    _ => "",
                }
            ),
        )?;
        let image = run.path("disk.img");
        system::make_disk(&image, DISK, Some(&self.root))?;
        let boot = self.root.join("boot");
        let start = Start::Kernel {
            vmlinuz: boot.join(format!("vmlinuz-{release}")),
            initrd: boot.join(format!("initrd.img-{release}")),
            append: "root=/dev/vda rw systemd.show_status=false".into(),
        };
        let mut qemu = Qemu::new(&Machine::default(), self.suite, &start)?;
        qemu.disk(&image, "")?;
        let ended = system::boot(
            qemu,
            &self.logs.join(format!("{release}.console")),
            &self.logs.join(format!("{release}.tap")),
            LIMIT,
            &[],
        )?;
        Ok(ended.report(&format!("{}: {release}", self.suite)))
    }
}
