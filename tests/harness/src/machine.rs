// SPDX-License-Identifier: GPL-2.0-only
//! The programs, other than compilers, that guests and checks are run with: QEMU, what makes file
//! systems, and the like.
//!
//! They come from a root of their own, and run on the host with the libraries that they came
//! with: another version may be installed there, and in use.

use std::ffi::OsString;
use std::fs::{self, Permissions};
use std::os::unix::fs::{symlink, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::artifact::Artifact;
use crate::root::{self, Variant};
use crate::suite::Suite;
use crate::versions;

pub const PACKAGES: &[&str] = &[
    "qemu-system-x86",
    "busybox-static",
    "e2fsprogs",
    "openssl",
    "shellcheck",
    "sparse",
    "xz-utils",
    "zstd",
];

/// A program, and what it would otherwise look for in the host's /etc and /usr.
pub struct Program {
    pub path: &'static str,
    pub setting: &'static str,
    pub options: &'static str,
}

const fn plain(path: &'static str) -> Program {
    Program {
        path,
        setting: "",
        options: "",
    }
}

const PROGRAMS: &[Program] = &[
    Program {
        path: "usr/bin/qemu-system-x86_64",
        setting: "export QEMU_MODULE_DIR=$root/usr/lib/x86_64-linux-gnu/qemu",
        options: r#" -L "$root/usr/share/qemu" -L "$root/usr/share/seabios""#,
    },
    Program {
        path: "usr/sbin/mkfs.ext4",
        setting: "export MKE2FS_CONFIG=$root/etc/mke2fs.conf",
        options: "",
    },
    Program {
        path: "usr/bin/openssl",
        setting: "export OPENSSL_CONF=$root/etc/ssl/openssl.cnf",
        options: "",
    },
    plain("usr/bin/shellcheck"),
    plain("usr/bin/sparse"),
    plain("usr/bin/xz"),
    plain("usr/bin/zstd"),
];

/// The directory of the programs, made first if need be.
pub fn programs() -> Result<PathBuf> {
    let suite = Suite::Trixie;
    let dir = versions::with(suite, |versions| {
        let artifact = Artifact {
            name: "machine".into(),
            what: format!("QEMU and other programs (Debian {suite})"),
            usually: "1 minute",
            inputs: [vec!["1".into()], versions.of(PACKAGES)].concat(),
        };
        artifact.get(|dir, log| {
            // Nothing is run in it, so nothing has to be configured.
            let root = dir.join("root");
            root::make(
                &root,
                suite,
                Variant::Extract,
                PACKAGES,
                root::NO_DOCUMENTATION,
                log,
            )?;
            let bin = dir.join("bin");
            fs::create_dir(&bin)?;
            for program in PROGRAMS {
                wrap(&root, program, &bin)?;
            }
            // It is not linked with any library.
            symlink("../root/usr/bin/busybox", bin.join("busybox"))?;
            log.run(Command::new(bin.join("qemu-system-x86_64")).arg("--version"))?;
            log.run(Command::new(bin.join("mkfs.ext4")).arg("-V"))?;
            log.run(Command::new(bin.join("busybox")).arg("true"))
        })
    })?;
    Ok(dir.join("bin"))
}

/// Writes a script that runs a program of `root` with its own libraries.
pub fn wrap(root: &Path, program: &Program, bin: &Path) -> Result<()> {
    let Program {
        path,
        setting,
        options,
    } = program;
    fs::metadata(root.join(path)).with_context(|| format!("{path} is missing"))?;
    let name = Path::new(path).file_name().unwrap_or_default();
    let script = format!(
        r#"#!/bin/sh
root=$(dirname "$(readlink -f "$0")")/../root
{setting}
exec "$root/usr/lib64/ld-linux-x86-64.so.2" --argv0 {} \
    --library-path "$root/usr/lib/x86_64-linux-gnu" "$root/{path}"{options} "$@"
"#,
        name.to_string_lossy()
    );
    let file = bin.join(name);
    fs::write(&file, script)?;
    Ok(fs::set_permissions(file, Permissions::from_mode(0o755))?)
}

/// PATH with these programs before the host's.
pub fn path() -> Result<OsString> {
    let mut path = programs()?.into_os_string();
    path.push(":");
    path.push(std::env::var_os("PATH").unwrap_or_default());
    Ok(path)
}
