// SPDX-License-Identifier: GPL-2.0-only
//! xfstests: its tests of overlayfs over layers that are composefs or EROFS, and tests of composefs
//! in its style, which are in tests/xfstests.

use std::fs;
use std::path::PathBuf;

use anyhow::{bail, Result};
use clap::Args;

use crate::others::{self, Run};
use crate::{place, qemu};

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
    /// What runs: composefs, overlay/composefs, overlay/composefs-1.0 (by Debian's mount.composefs),
    /// overlay/erofs, overlay/plain (directories)
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
    "overlay/composefs-1.0",
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
    let packages = others::packages("xfstests", "30 seconds", PACKAGES, &[])?;
    let disk = run.disk(&packages, &[("xfstests", tree.clone())])?;

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
    let counts = run.guest(&command, machine, options.check.is_empty())?;
    fs::remove_file(disk)?;
    Ok(i32::from(!counts.is_good()))
}
