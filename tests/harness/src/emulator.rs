// SPDX-License-Identifier: GPL-2.0-only
//! What emulates machines and runs programs of another architecture than the host's, and the one
//! program for these that comes with the kernel.

use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use crate::arch::Arch;
use crate::artifact::Artifact;
use crate::machine::{self, Program};
use crate::root::{self, Variant};
use crate::suite::{Archive, Suite};
use crate::{place, versions};

/// The emulators, which run on the host,
pub const PACKAGES: &[&str] = &["qemu-system-arm", "qemu-user"];

/// and what runs in the guest before it has a root.
pub const FOREIGN_PACKAGES: &[&str] = &["busybox-static"];

const SUITE: Suite = Suite::Trixie;

/// A machine,
const SYSTEM: Program = Program {
    path: "usr/bin/qemu-system-aarch64",
    setting: "export QEMU_MODULE_DIR=$root/usr/lib/x86_64-linux-gnu/qemu",
    options: r#" -L "$root/usr/share/qemu""#,
};

/// and single programs: linked statically, so that any root will do.
const USER: &str = "usr/bin/qemu-aarch64";

/// The emulators' directory, with `root` and `bin`, made first if need be.
fn emulators(arch: Arch) -> Result<PathBuf> {
    versions::with(SUITE, |versions| {
        let artifact = Artifact {
            name: format!("machine{}", arch.suffix()),
            what: format!("QEMU for {} (Debian {SUITE})", arch.name()),
            usually: "1 minute",
            inputs: [vec!["1".into()], versions.of(PACKAGES)].concat(),
        };
        artifact.get(|dir, log| {
            let (root, bin) = (dir.join("root"), dir.join("bin"));
            let without = root::NO_DOCUMENTATION;
            root::make(&root, SUITE, Variant::Extract, PACKAGES, without, log)?;
            // Those for all other machines are large.
            for entry in fs::read_dir(root.join("usr/bin"))? {
                let file = entry?.path();
                if ![SYSTEM.path, USER].iter().any(|kept| file.ends_with(kept)) {
                    fs::remove_file(file)?;
                }
            }
            fs::create_dir(&bin)?;
            machine::wrap(&root, &SYSTEM, &bin)?;
            log.run(Command::new(bin.join(arch.qemu())).arg("--version"))?;
            log.run(Command::new(root.join(USER)).arg("--version"))
        })
    })
}

/// PATH for running guests of that kind.
pub fn path(arch: Arch) -> Result<OsString> {
    let mut path = OsString::new();
    if arch != Arch::Amd64 {
        path.push(emulators(arch)?.join("bin"));
        path.push(":");
    }
    path.push(machine::path()?);
    Ok(path)
}

/// `program`, run while the host runs those of that architecture as well.
pub fn around(arch: Arch, program: &str) -> Result<Command> {
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "--propagation", "private"])
        .arg(place::checkout("scripts/lib/emulate"))
        .arg(emulators(arch)?.join("root").join(USER))
        .arg(program);
    Ok(command)
}

/// The busybox for guests of that kind, which is linked statically.
pub fn busybox(arch: Arch) -> Result<PathBuf> {
    if arch == Arch::Amd64 {
        return Ok(machine::programs()?.join("busybox"));
    }
    let archive = Archive::new(SUITE, arch);
    let root = versions::with(archive, |versions| {
        let artifact = Artifact {
            name: format!("busybox{}", arch.suffix()),
            what: format!("busybox (Debian {archive})"),
            usually: "5 seconds",
            inputs: [vec!["1".into()], versions.of(FOREIGN_PACKAGES)].concat(),
        };
        artifact.get(|dir, log| {
            let without = root::NO_DOCUMENTATION;
            root::make(
                dir,
                archive,
                Variant::Extract,
                FOREIGN_PACKAGES,
                without,
                log,
            )
        })
    })?;
    Ok(root.join("usr/bin/busybox"))
}
