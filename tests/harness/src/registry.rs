// SPDX-License-Identifier: GPL-2.0-only
//! A registry, what fills it, and what else fetches images from one: Debian's docker-registry,
//! skopeo, umoci and podman in a root of their own, and real images to serve.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use crate::artifact::Artifact;
use crate::root::{self, Variant};
use crate::suite::Suite;
use crate::toolchain::Toolchain;
use crate::{place, updates, versions};

/// composefs-rs is made for this one, too.
const SUITE: Suite = Suite::Forky;

pub const PACKAGES: &[&str] = &[
    "ca-certificates",
    "crun",
    "curl",
    "docker-registry",
    "iproute2",
    "libcurl3t64-gnutls",
    "mount",
    "nginx",
    "podman",
    "python3",
    "skopeo",
    "time",
    "umoci",
    "zstd",
];

/// The programs' root.
pub struct Tools(PathBuf);

/// What a benchmark measures.
pub struct Measured {
    /// The command `composefs`.
    pub ours: PathBuf,
    /// What [`Tools::images`] or [`Tools::updates`] has made.
    pub images: PathBuf,
    /// How often.
    pub rounds: u32,
}

impl Tools {
    /// Made first, if need be.
    pub fn get() -> Result<Self> {
        let root = versions::with(SUITE, |versions| {
            let artifact = Artifact {
                name: "registry-tools".into(),
                what: format!("docker-registry, skopeo, umoci, podman (Debian {SUITE})"),
                usually: "1 minute",
                inputs: [vec!["1".into()], versions.of(PACKAGES)].concat(),
            };
            artifact.get(|dir, log| {
                let without = root::NO_DOCUMENTATION;
                root::make(dir, SUITE, Variant::Apt, PACKAGES, without, log)
            })
        })?;
        Ok(Self(root))
    }

    /// `program`, run with them.
    pub fn command(&self, binds: &[&Path], program: &Path) -> Result<Command> {
        let mut command = root::enter(&self.0, binds)?;
        command.arg(program);
        Ok(command)
    }

    /// Where they are.
    pub fn root(&self) -> &Path {
        &self.0
    }

    /// A directory with `registry`, the storage of a docker-registry that has the images os:1 and
    /// os:2; `small`, the same with small:1; and `images.json`, which says what is in them.
    pub fn images(&self) -> Result<PathBuf> {
        // A root that is there anyway.
        let system = Toolchain::with(Suite::Trixie, "toolchain", &[])?;
        let what = "images of a Debian system, in a registry";
        self.make("registry-images", what, "make-images", &[system.root()])
    }

    /// A directory with `registry`, the storage of one that has the images update:1 and update:2, of
    /// a system and of the same upgraded, and objects:1.
    pub fn updates(&self) -> Result<PathBuf> {
        let (before, after) = updates::roots()?;
        let what = "images of a Debian system and its upgrade, in a registry";
        self.make("registry-updates", what, "make-updates", &[&before, &after])
    }

    /// The `program` of a benchmark, told what it measures, to leave its figures in build/NAME.json, and
    /// to have its stores below build/, on a disk.
    pub fn bench(&self, program: &str, name: &str, measured: &Measured) -> Result<Command> {
        let build = place::checkout("build");
        fs::create_dir_all(&build)?;
        let build = build.canonicalize()?;
        let program = place::checkout(BENCH).canonicalize()?.join(program);
        let mut command = self.command(&[], &program)?;
        command
            .arg("--ours")
            .arg(&measured.ours)
            .arg("--images")
            .arg(&measured.images)
            .arg("--scratch")
            .arg(&build)
            .arg("--json")
            .arg(build.join(format!("{name}.json")))
            .args(["--rounds", &measured.rounds.to_string()]);
        Ok(command)
    }

    /// What one of the programs in [`BENCH`] makes of roots.
    fn make(&self, name: &str, what: &str, maker: &str, roots: &[&Path]) -> Result<PathBuf> {
        let mut inputs = vec![self.0.display().to_string()];
        for file in [maker, "layout.py", "registry.py", "server.py"] {
            inputs.push(fs::read_to_string(place::checkout(BENCH).join(file))?);
        }
        inputs.extend(roots.iter().map(|root| root.display().to_string()));
        let artifact = Artifact {
            name: name.into(),
            what: what.into(),
            usually: "6 minutes",
            inputs,
        };
        artifact.get(|dir, log| {
            let maker = place::checkout(BENCH).canonicalize()?.join(maker);
            let mut command = self.command(&[dir], &maker)?;
            log.run(command.args(roots).arg(dir))
        })
    }
}

/// Where the programs of the benchmarks are.
pub const BENCH: &str = "tools/bench";
