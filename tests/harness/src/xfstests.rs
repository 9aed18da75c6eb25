// SPDX-License-Identifier: GPL-2.0-only
//! xfstests: its tests of overlayfs over layers that are composefs or EROFS, and tests of composefs
//! in its style, which are in tests/xfstests.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{bail, Result};
use clap::Args;

use crate::artifact::Artifact;
use crate::others::{self, Run};
use crate::process::{self, Log};
use crate::root::{self, Variant};
use crate::{guest, place, qemu, versions};

/// Runs xfstests in a guest: tests of composefs, and of overlayfs over composefs and EROFS
///
/// The tree is one that was built, with a C library no newer than the guest's (Debian forky's). It
/// goes to a disk for the guest, and what is added there is gone with that: tests/xfstests, and two
/// lines in common/config that make FSTYP=composefs known.
///
/// Prints counts, and keeps them (see `harness suites-table`); the whole output is in
/// build/suites/xfstests. Without --tree, that it is skipped (status 4).
#[derive(Args)]
pub struct Options {
    /// xfstests, built
    #[arg(long, value_name = "DIR")]
    tree: Option<PathBuf>,
    /// What runs: composefs, overlay/composefs, overlay/erofs, overlay/plain (directories)
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "composefs,overlay/composefs,overlay/erofs"
    )]
    what: Vec<String>,
    /// Which of the tests, as `check` is told: composefs/001, -g overlay/quick [default: all of
    /// composefs; of overlay, the groups quick, copyup, exportfs, metacopy, verity and union]
    #[arg(allow_hyphen_values = true, trailing_var_arg = true)]
    check: Vec<String>,
}

const WHAT: &[&str] = &[
    "composefs",
    "overlay/composefs",
    "overlay/erofs",
    "overlay/plain",
];

/// What the tree asks for and the guest's root does not have.
pub const PACKAGES: &[&str] = &[
    "bc",
    "gawk",
    "libaio1t64",
    "liburing2",
    "psmisc",
    "uuid-runtime",
];

/// By it, the guest finds the disk.
const LABEL: &str = "xfstests";

/// Runs it; gives the exit status.
pub fn run(options: &Options) -> Result<i32> {
    let Some(tree) = &options.tree else {
        return Ok(others::without_tree("xfstests"));
    };
    if !tree.join("ltp/fsstress").is_file() || !tree.join("check").is_file() {
        bail!("{} is no xfstests that was built", tree.display());
    }
    if let Some(what) = options
        .what
        .iter()
        .find(|what| !WHAT.contains(&what.as_str()))
    {
        bail!("{what}: nothing that can be run (see --help)");
    }

    let run = Run::new("xfstests")?;
    run.copy(&place::checkout("scripts/in-guest/xfstests"), "xfstests")?;
    run.copy(&place::checkout("tests/xfstests"), "xfstests/tests")?;
    let disk = place::build("suites/xfstests/disk.img")?;
    make_disk(&tree.canonicalize()?, &disk)?;

    let mut command = vec!["/opt/composefs/xfstests/run".to_owned()];
    command.extend(options.what.iter().cloned());
    command.push("--".into());
    command.extend(options.check.iter().cloned());
    let machine = qemu::Machine {
        memory: "3G".into(),
        blank_disk: vec![4 << 30, 16 << 30],
        disks: vec![disk.display().to_string()],
        ..Default::default()
    };
    let good = run.guest(&command, machine)?;
    fs::remove_file(disk)?;
    Ok(i32::from(!good))
}

/// The disk with the tree, and with what it asks for.
fn make_disk(tree: &Path, disk: &Path) -> Result<()> {
    let packages = packages()?;
    let all = disk.with_file_name("disk");
    let _ = fs::remove_dir_all(&all);
    let log = Log::create(disk.with_file_name("disk.log"))?;
    let mut copy = std::process::Command::new("cp");
    log.run(copy.arg("-a").args([packages.as_path(), all.as_path()]))?;
    let mut copy = std::process::Command::new("cp");
    log.run(copy.arg("-a").arg(tree).arg(all.join("xfstests")))?;
    if let Err(error) = guest::make_disk(&all, disk, LABEL, 512, &log) {
        bail!("{error:#}: {}", process::reason(&log.text()));
    }
    Ok(fs::remove_dir_all(all)?)
}

/// The packages, unpacked; made first if need be.
fn packages() -> Result<PathBuf> {
    let suite = guest::DISTRIBUTION;
    let dir = versions::with(suite, |versions| {
        let artifact = Artifact {
            name: "guest-xfstests".into(),
            what: format!("what xfstests asks for (Debian {suite})"),
            usually: "30 seconds",
            inputs: [vec!["1".into()], versions.of(PACKAGES)].concat(),
        };
        artifact.get(|dir, log| {
            let without = root::NO_DOCUMENTATION;
            root::make(
                &dir.join("root"),
                suite,
                Variant::Extract,
                PACKAGES,
                without,
                log,
            )
        })
    })?;
    Ok(dir.join("root"))
}
