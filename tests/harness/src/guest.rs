// SPDX-License-Identifier: GPL-2.0-only
//! What guests boot from: a root file system, and the initramfs that brings a kernel to it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{bail, Context, Result};

use crate::arch::Arch;
use crate::artifact::Artifact;
use crate::kernel::Kernel;
use crate::process::{self, Log};
use crate::root::{self, Variant};
use crate::suite::{Archive, Suite};
use crate::{emulator, machine, versions};

/// Whose packages the guest has.
pub const DISTRIBUTION: Suite = Suite::Forky;

/// Many entries in few bytes: emulated CPUs have to hash them all.
pub const PACKAGES: &[&str] = &[
    "composefs",
    "erofs-utils",
    "fsverity",
    "e2fsprogs",
    "btrfs-progs",
    "xfsprogs",
    "util-linux-extra",
    "mount",
    "kmod",
    "procps",
    "attr",
    "acl",
    "dmsetup",
    "keyutils",
    "openssl",
    "strace",
    "python3",
    "perl",
    "tzdata",
    "tzdata-legacy",
    "ncurses-term",
    "manpages",
    "manpages-dev",
    "zsh-common",
    "less",
    "file",
    "xz-utils",
    "zstd",
    "rsync",
    "cpio",
    "bash-completion",
    "ca-certificates",
    "nfs-kernel-server",
    COMPILER,
    "binutils",
    "libc6-dev",
    // What our `composefs` is linked to.
    "libcurl3t64-gnutls",
];

/// A compiler that is small, and for few machines. What needs it says elsewhere that it is skipped.
const COMPILER: &str = "pcc";

fn packages(arch: Arch) -> Vec<&'static str> {
    let packages = PACKAGES.iter().copied();
    packages
        .filter(|&name| arch == Arch::Amd64 || name != COMPILER)
        .collect()
}

/// A tree with fewer is not what tests of a whole system are meant for.
const LEAST_ENTRIES: usize = 20_000;

/// What the initramfs loads, where the kernel has it as a module.
const BOOT_MODULES: &[&str] = &["virtio_pci", "virtio_blk", "virtio_console", "ext4"];

/// The image of the root file system, made first if need be: ext4 with fs-verity and 4-KiB
/// blocks. Runs do not change it.
pub fn root_image(arch: Arch) -> Result<PathBuf> {
    let archive = Archive::new(DISTRIBUTION, arch);
    let packages = packages(arch);
    let dir = versions::with(archive, |versions| {
        let artifact = Artifact {
            name: format!("guest-root{}", arch.suffix()),
            what: format!("guest root (Debian {archive})"),
            usually: match arch {
                Arch::Amd64 => "2 minutes",
                Arch::Arm64 => "10 minutes",
            },
            inputs: [vec!["2".into()], versions.of(&packages)].concat(),
        };
        artifact.get(|dir, log| make_root(dir, archive, &packages, log))
    })?;
    Ok(dir.join("root.img"))
}

fn make_root(dir: &Path, archive: Archive, packages: &[&str], log: &Log) -> Result<()> {
    let tree = dir.join("tree");
    let without = &["/usr/share/locale/*/*", "/usr/lib/udev/hwdb.d/*"];
    root::make(&tree, archive, Variant::Important, packages, without, log)?;
    for point in ["scratch", "opt/composefs", "usr/lib/modules"] {
        fs::create_dir_all(tree.join(point))?;
    }
    for rubbish in ["etc/resolv.conf", "usr/lib/udev/hwdb.bin"] {
        let _ = fs::remove_file(tree.join(rubbish));
    }
    fs::write(tree.join("etc/hostname"), "composefs-guest\n")?;

    let entries = process::output(
        Command::new("find")
            .arg(&tree)
            .arg("-xdev")
            .args(["-printf", "x"]),
    )?
    .len();
    log.line(&format!("{entries} entries"))?;
    if entries < LEAST_ENTRIES {
        bail!("the root has {entries} entries, and should have at least {LEAST_ENTRIES}");
    }
    // Room to spare: tests may write to it, too.
    let image = dir.join("root.img");
    make_disk(&tree, &image, "composefs-guest", 1024, log)?;
    Ok(fs::remove_dir_all(tree)?)
}

/// A disk with what is in a tree, a label by which guests find it, and as many MiB of room.
pub fn make_disk(tree: &Path, image: &Path, label: &str, room: u64, log: &Log) -> Result<()> {
    let used = process::output(Command::new("du").args(["-s", "--block-size=1M"]).arg(tree))?;
    let used: u64 = used.split_whitespace().next().unwrap_or_default().parse()?;
    File::create(image)?.set_len((used * 5 / 4 + room) << 20)?;
    log.run(
        Command::new(machine::programs()?.join("mkfs.ext4"))
            .args(["-q", "-b", "4096", "-O", "verity", "-L", label])
            .args(["-E", "lazy_itable_init=0,lazy_journal_init=0", "-d"])
            .args([tree, image]),
    )
}

/// The initramfs for a suite's kernel, made first if need be: busybox and the kernel's modules.
pub fn initramfs(suite: Suite) -> Result<PathBuf> {
    let kernel = Kernel::of(suite)?;
    let programs = machine::programs()?;
    let busybox = emulator::busybox(suite.arch())?;
    let artifact = Artifact {
        name: format!("initramfs-{suite}"),
        what: format!("initramfs for {}", kernel.release),
        usually: "2 seconds",
        inputs: vec![
            "1".into(),
            kernel.dir().display().to_string(),
            busybox.parent().unwrap_or(&busybox).display().to_string(),
            modified(&kernel.vmlinuz())?,
            BOOT_MODULES.join(" "),
        ],
    };
    let dir = artifact.get(|dir, log| make_initramfs(dir, &kernel, &busybox, &programs, log))?;
    Ok(dir.join("initramfs"))
}

/// The debug kernel's directory stays the same when it is built anew.
fn modified(path: &Path) -> Result<String> {
    Ok(format!("{:?}", fs::metadata(path)?.modified()?))
}

fn make_initramfs(
    dir: &Path,
    kernel: &Kernel,
    busybox: &Path,
    programs: &Path,
    log: &Log,
) -> Result<()> {
    let ram = dir.join("ram");
    for point in ["bin", "dev", "proc", "sys", "newroot", "boot"] {
        fs::create_dir_all(ram.join(point))?;
    }
    fs::copy(busybox, ram.join("bin/busybox"))?;
    let modules = kernel.modules();
    log.run(
        Command::new("cp")
            .arg("-a")
            .arg(modules.parent().context("modules are in a directory")?)
            .arg(ram.join("modules")),
    )?;

    // boot/: the modules needed to reach the root, numbered in loading order.
    let dependencies = fs::read_to_string(modules.join("modules.dep"))?;
    for (nr, file) in loading_order(&dependencies, BOOT_MODULES)
        .iter()
        .enumerate()
    {
        let plain = file.rsplit('/').next().unwrap_or(file);
        let plain = plain.split(".ko").next().unwrap_or(plain);
        let from = File::open(modules.join(file))?;
        let to = File::create(ram.join(format!("boot/{:02}-{plain}.ko", nr + 10)))?;
        let unpack = match file.rsplit('.').next() {
            Some(packer @ ("xz" | "zst")) => {
                let mut command =
                    Command::new(programs.join(if packer == "xz" { "xz" } else { "zstd" }));
                command.arg("-dc");
                command
            }
            _ => Command::new("cat"),
        };
        let mut unpack = unpack;
        if !unpack.stdin(from).stdout(to).status()?.success() {
            bail!("cannot unpack {file}");
        }
    }
    archive(&ram, &programs.join("busybox"), &dir.join("initramfs"))?;
    Ok(fs::remove_dir_all(ram)?)
}

/// Puts a tree into a cpio archive, as the kernel unpacks it.
pub fn archive(tree: &Path, busybox: &Path, to: &Path) -> Result<()> {
    let mut find = Command::new("find")
        .arg(".")
        .current_dir(tree)
        .stdout(Stdio::piped())
        .spawn()?;
    let names = find.stdout.take().context("find has an output")?;
    let status = Command::new(busybox)
        .args(["cpio", "-o", "-H", "newc", "-R", "0:0"])
        .current_dir(tree)
        .stdin(names)
        .stdout(File::create(to)?)
        .stderr(Stdio::null())
        .status()?;
    if !find.wait()?.success() || !status.success() {
        bail!("cannot put {} into an archive", tree.display());
    }
    Ok(())
}

/// The files of modules and of what they need, in an order in which they can be loaded.
/// modules.dep names a module, then what it needs, outermost first.
fn loading_order<'a>(dependencies: &'a str, modules: &[&str]) -> Vec<&'a str> {
    let plain = |file: &str| {
        let name = file.rsplit('/').next().unwrap_or(file);
        name.split(".ko").next().unwrap_or(name).replace('-', "_")
    };
    let mut order = Vec::new();
    for module in modules {
        let line = dependencies.lines().find(|line| {
            line.split(':')
                .next()
                .is_some_and(|file| plain(file) == *module)
        });
        let Some((file, needed)) = line.and_then(|line| line.split_once(':')) else {
            continue;
        };
        for file in needed.split_whitespace().rev().chain([file]) {
            if !order.contains(&file) {
                order.push(file);
            }
        }
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_module_needs_comes_first() {
        let dependencies =
            "kernel/fs/ext4/ext4.ko.xz: kernel/fs/jbd2/jbd2.ko.xz kernel/lib/crc.ko.xz\n\
                            kernel/fs/jbd2/jbd2.ko.xz: kernel/lib/crc.ko.xz\n\
                            kernel/lib/crc.ko.xz:\n\
                            kernel/drivers/virtio-blk.ko:\n";
        assert_eq!(
            loading_order(dependencies, &["virtio_blk", "ext4", "missing"]),
            [
                "kernel/drivers/virtio-blk.ko",
                "kernel/lib/crc.ko.xz",
                "kernel/fs/jbd2/jbd2.ko.xz",
                "kernel/fs/ext4/ext4.ko.xz"
            ]
        );
    }
}
