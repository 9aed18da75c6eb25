// SPDX-License-Identifier: GPL-2.0-only
//! What guests have of others that fetch, keep and serve container images: on a disk of its own, as
//! tests and benchmarks that take the root for their tree would otherwise have to carry it.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::arch::Arch;
use crate::artifact::Artifact;
use crate::guest;
use crate::process::Log;
use crate::root::{self, Variant};
use crate::suite::{Archive, Suite};
use crate::versions;

/// The guest's, so that what is on the disk runs with the guest's C library.
const DISTRIBUTION: Suite = guest::DISTRIBUTION;

pub const PACKAGES: &[&str] = &["docker-registry", "nginx", "skopeo", "umoci"];

/// What these depend on for running containers and services, which nobody does here.
const NOT_USED: &[&str] = &[
    "/usr/lib/cni/*",
    "/usr/lib/systemd/*",
    "/usr/lib/*-linux-gnu/gconv/*",
    "/usr/lib/*-linux-gnu/systemd/*",
];

/// The label of the disk.
const LABEL: &str = "containers";

/// The image of the disk, made first if need be.
pub fn disk(arch: Arch) -> Result<PathBuf> {
    let archive = Archive::new(DISTRIBUTION, arch);
    let dir = versions::with(archive, |versions| {
        let artifact = Artifact {
            name: format!("guest-containers{}", arch.suffix()),
            what: format!("a registry, its clients and a web server for guests (Debian {archive})"),
            usually: "1 minute",
            inputs: [vec!["2".into()], versions.of(PACKAGES)].concat(),
        };
        artifact.get(|dir, log| make(dir, archive, log))
    })?;
    Ok(dir.join("disk.img"))
}

fn make(dir: &Path, archive: Archive, log: &Log) -> Result<()> {
    let tree = dir.join("tree");
    root::make(
        &tree,
        archive,
        Variant::Extract,
        PACKAGES,
        &[root::NO_DOCUMENTATION, NOT_USED].concat(),
        log,
    )?;
    guest::make_disk(&tree, &dir.join("disk.img"), LABEL, 16, log)?;
    Ok(fs::remove_dir_all(tree)?)
}
