// SPDX-License-Identifier: GPL-2.0-only
//! File system tests of others that know no file system: stress-ng's and fio's, which Debian has,
//! and fsx, fsstress, pjdfstest and LTP's from trees that a user has.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{bail, Result};
use clap::Args;

use crate::others::{self, Run};
use crate::tap::Counts;
use crate::{place, qemu};

/// Runs stress-ng, fio and others' file system tests in a guest, on composefs and on overlays
///
/// What only reads runs on composefs itself, all else on an overlay whose lower layer is composefs.
/// Where that does not pass, the same is tried on EROFS or ext4: it fails if it passes there, and is
/// skipped if it does not.
///
/// Prints counts, and keeps them (see `harness suites-table`); the whole output is in
/// build/suites/stress. What there is no tree for is skipped.
#[derive(Args, Default)]
pub struct Options {
    /// xfstests or pjdfstest, built, or LTP, installed, with a C library no newer than the guest's
    /// (Debian forky's); may be given for each
    #[arg(long = "tree", value_name = "DIR")]
    pub trees: Vec<PathBuf>,
    /// What runs: stress-ng/composefs, stress-ng/overlay, fio/composefs, fio/overlay, fsx, fsstress,
    /// pjdfstest, ltp [default: all]
    #[arg(value_name = "PART")]
    pub parts: Vec<String>,
}

/// What the guest's root does not have.
pub const PACKAGES: &[&str] = &["stress-ng", "fio", "liburing2"];

/// What they depend on, but use only for screens: most of their size.
const WITHOUT: &[&str] = &[
    "/usr/lib/x86_64-linux-gnu/libLLVM*",
    "/usr/lib/x86_64-linux-gnu/libgallium*",
    "/usr/lib/x86_64-linux-gnu/libz3*",
];

/// A suite that a user has.
struct Suite {
    name: &'static str,
    /// A file that it has when it was built.
    built: &'static str,
    /// The directory that the guest gets.
    used: &'static str,
}

const XFSTESTS: Suite = Suite {
    name: "xfstests",
    built: "ltp/fsstress",
    used: "ltp",
};

const PJDFSTEST: Suite = Suite {
    name: "pjdfstest",
    built: "pjdfstest",
    used: "",
};

const LTP: Suite = Suite {
    name: "ltp",
    built: "testcases/bin/growfiles",
    used: "",
};

/// What can be run, and what that takes.
const PARTS: &[(&str, Option<&Suite>)] = &[
    ("stress-ng/composefs", None),
    ("stress-ng/overlay", None),
    ("fio/composefs", None),
    ("fio/overlay", None),
    ("fsx", Some(&XFSTESTS)),
    ("fsstress", Some(&XFSTESTS)),
    ("pjdfstest", Some(&PJDFSTEST)),
    ("ltp", Some(&LTP)),
];

/// Runs it; gives the exit status.
pub fn run(options: &Options) -> Result<i32> {
    Ok(match counts(options)? {
        Some(counts) => i32::from(!counts.is_good()),
        None => others::SKIPPED,
    })
}

/// Runs it; nothing if there is no tree for any of it.
pub fn counts(options: &Options) -> Result<Option<Counts>> {
    let trees = options
        .trees
        .iter()
        .map(|tree| Ok((suite_of(tree)?, tree.as_path())))
        .collect::<Result<Vec<_>>>()?;
    let is_there = |suite: &Suite| trees.iter().any(|(other, _)| other.name == suite.name);
    if let Some(part) = options
        .parts
        .iter()
        .find(|part| !PARTS.iter().any(|(name, _)| name == part))
    {
        bail!("{part}: nothing that can be run (see --help)");
    }
    let asked = |name: &str| options.parts.is_empty() || options.parts.iter().any(|p| p == name);
    let mut command = vec!["/opt/composefs/stress/run".to_owned()];
    for (name, suite) in PARTS.iter().filter(|(name, _)| asked(name)) {
        match suite {
            Some(suite) if !is_there(suite) => {
                println!(
                    "{name}: SKIPPED: no tree of {}: --tree says where one is",
                    suite.name
                );
            }
            _ => command.push((*name).to_owned()),
        }
    }
    if command.len() == 1 {
        return Ok(None);
    }

    let run = Run::new("stress")?;
    run.copy(&place::checkout("scripts/in-guest/stress"), "stress")?;
    let packages = others::packages("stress", "2 minutes", PACKAGES, WITHOUT)?;
    let used: Vec<_> = trees
        .iter()
        .map(|(suite, tree)| (suite.name, tree.join(suite.used)))
        .collect();
    let disk = run.disk(&packages, &used)?;
    let machine = qemu::Machine {
        memory: "3G".into(),
        blank_disk: vec![8 << 30],
        disks: vec![format!("{}:ro", disk.display())],
        ..Default::default()
    };
    let counts = run.guest(&command, machine, true)?;
    fs::remove_file(disk)?;
    Ok(Some(counts))
}

/// Which of the suites a tree is.
fn suite_of(tree: &Path) -> Result<&'static Suite> {
    let suites = [&XFSTESTS, &PJDFSTEST, &LTP];
    match suites
        .into_iter()
        .find(|suite| tree.join(suite.built).is_file())
    {
        Some(suite) => Ok(suite),
        None => bail!(
            "{}: no xfstests or pjdfstest that was built, nor LTP that was installed",
            tree.display()
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_is_known_by_what_is_built_in_it() -> Result<()> {
        let dir = tempfile::tempdir()?;
        assert!(suite_of(dir.path()).is_err());
        fs::write(dir.path().join("pjdfstest"), "")?;
        assert_eq!(suite_of(dir.path())?.name, "pjdfstest");
        fs::create_dir(dir.path().join("ltp"))?;
        assert!(suite_of(&dir.path().join("ltp")).is_err());
        fs::write(dir.path().join("ltp/fsstress"), "")?;
        assert_eq!(suite_of(dir.path())?.name, "xfstests");
        Ok(())
    }
}
