// SPDX-License-Identifier: GPL-2.0-only
//! The peers that tests compare with, for the host. (The guest has Debian's own.)

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use crate::artifact::Artifact;
use crate::place;
use crate::process::{self, Log};
use crate::root::{self, Variant};
use crate::suite::Suite;
use crate::toolchain::Toolchain;
use crate::versions;

/// Composefs in C, and what compares the library with ours.
pub const C_PACKAGES: &[&str] = &[
    "composefs",
    "libcomposefs1",
    "libcomposefs-dev",
    "libc6",
    "abigail-tools",
];

/// That of composefs-rs, which Debian does not package.
const RS_VERSION: &str = "0.9.4";

/// A directory with `bin/cfsctl` for the guest, where it also acts as composefs-rs's mkcomposefs
/// and composefs-info when called so; and for any host `host/cfsctl`, and `host/image-of-dump` of
/// tests/peers.
pub fn composefs_rs() -> Result<PathBuf> {
    make_composefs_rs("peers", "5 minutes", "pre-6.15,oci", SOON)
}

/// The same, optimised as those who made it do it, with the FUSE server: for comparisons of speed.
pub fn composefs_rs_as_released() -> Result<PathBuf> {
    make_composefs_rs("peers-with-fuse", "8 minutes", "pre-6.15,oci,fuse", &[])
}

/// Not optimised for long: what it makes of the tests' trees is soon made.
const SOON: &[&str] = &[
    "CARGO_PROFILE_RELEASE_OPT_LEVEL=1",
    "CARGO_PROFILE_RELEASE_LTO=off",
    "CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16",
    "CARGO_PROFILE_RELEASE_DEBUG=0",
];

fn make_composefs_rs(
    name: &str,
    usually: &'static str,
    features: &str,
    profile: &[&str],
) -> Result<PathBuf> {
    // Its crates need a cargo that is newer than trixie's; and the guest is forky.
    let toolchain = Toolchain::of(Suite::Forky)?;
    let ours = place::checkout("tests/peers");
    let mut inputs = vec!["3".into(), RS_VERSION.into()];
    for file in ["src/image_of_dump.rs", "Cargo.toml", "Cargo.lock"] {
        inputs.push(fs::read_to_string(ours.join(file))?);
    }
    let artifact = Artifact {
        name: name.into(),
        what: format!("composefs-rs {RS_VERSION}"),
        usually,
        inputs,
    };
    artifact.get(|dir, log| {
        // Without the crates for ostree.
        let target = dir.join("target");
        let install = || -> Result<Command> {
            let mut command = toolchain.command(&[dir], "env")?;
            command
                .arg(format!("CARGO_TARGET_DIR={}", target.display()))
                .args(profile)
                .args(["nice", "cargo", "install", "--locked", "--root"])
                .arg(dir);
            Ok(command)
        };
        log.run(install()?.args([
            "composefs-ctl",
            "--version",
            RS_VERSION,
            "--no-default-features",
            "--features",
            features,
        ]))?;
        log.run(install()?.arg("--path").arg(&ours))?;
        fs::remove_dir_all(target)?;

        let (lib, host) = (dir.join("lib"), dir.join("host"));
        fs::create_dir(&lib)?;
        fs::create_dir(&host)?;
        for program in ["cfsctl", "image-of-dump"] {
            // With the libraries that it was linked with, whatever the host's are.
            let path = dir.join("bin").join(program);
            let linked = process::output(toolchain.command(&[dir], "ldd")?.arg(&path))?;
            for library in linked
                .split_whitespace()
                .filter(|word| word.starts_with('/'))
            {
                let from = toolchain.root().join(library.trim_start_matches('/'));
                fs::copy(
                    from,
                    lib.join(Path::new(library).file_name().unwrap_or_default()),
                )?;
            }
            write_script(
                &host.join(program),
                &format!(
                    "here=$(dirname \"$(readlink -f \"$0\")\")/..\n\
                     exec \"$here/lib/ld-linux-x86-64.so.2\" --library-path \"$here/lib\" \
                     \"$here/bin/{program}\" \"$@\"\n"
                ),
            )?;
        }
        log.run(Command::new(host.join("cfsctl")).arg("--version"))
    })
}

/// A directory with mkcomposefs and composefs-info of Debian forky's composefs, in C; `root`, with
/// its library and headers; and abidiff.
pub fn composefs_c() -> Result<PathBuf> {
    let suite = Suite::Forky;
    versions::with(suite, |versions| {
        let artifact = Artifact {
            name: "c-tools".into(),
            what: "composefs in C".into(),
            usually: "30 seconds",
            inputs: [vec!["2".into()], versions.of(C_PACKAGES)].concat(),
        };
        artifact.get(|dir, log| {
            root::make(
                &dir.join("root"),
                suite,
                Variant::Extract,
                C_PACKAGES,
                root::NO_DOCUMENTATION,
                log,
            )?;
            for tool in ["mkcomposefs", "composefs-info", "abidiff"] {
                write_script(
                    &dir.join(tool),
                    &format!(
                        "root=$(dirname \"$(readlink -f \"$0\")\")/root/usr\n\
                         exec \"$root/lib64/ld-linux-x86-64.so.2\" --library-path \
                         \"$root/lib/x86_64-linux-gnu\" \"$root/bin/{tool}\" \"$@\"\n"
                    ),
                )?;
            }
            try_c_tools(dir, log)
        })
    })
}

fn try_c_tools(dir: &Path, log: &Log) -> Result<()> {
    let (empty, image) = (dir.join("empty"), dir.join("image"));
    fs::create_dir(&empty)?;
    log.run(
        Command::new(dir.join("mkcomposefs"))
            .arg("--print-digest")
            .args([&empty, &image]),
    )?;
    log.run(
        Command::new(dir.join("composefs-info"))
            .arg("ls")
            .arg(&image),
    )?;
    log.run(Command::new(dir.join("abidiff")).arg("--version"))?;
    fs::remove_dir(empty)?;
    Ok(fs::remove_file(image)?)
}

fn write_script(path: &Path, text: &str) -> Result<()> {
    fs::write(path, format!("#!/bin/sh\n{text}"))?;
    Ok(fs::set_permissions(path, Permissions::from_mode(0o755))?)
}
