// SPDX-License-Identifier: GPL-2.0-only
//! unionmount-testsuite, over composefs as the lowest layer of an overlay, and over EROFS.

use std::path::PathBuf;

use anyhow::{bail, Result};
use clap::{Args, ValueEnum};

use crate::others::{self, Run};
use crate::{place, qemu};

/// Runs unionmount-testsuite in a guest, over composefs and over EROFS
///
/// Its --erofs makes an image of the lowest layer; for composefs, programs that come first in PATH
/// make and mount another one of the same tree. The suite itself stays as it is.
///
/// Prints counts for each mode and kind of layer, and keeps them (see `harness suites-table`); the
/// whole output is in build/suites/unionmount. Without --tree, that it is skipped (status 4).
#[derive(Args)]
pub struct Options {
    /// The suite, as its authors publish it
    #[arg(long, value_name = "DIR")]
    tree: Option<PathBuf>,
    /// What the lowest layer is
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_value = "composefs,inline,erofs"
    )]
    lower: Vec<Lower>,
    /// plain, verify, meta, xino, layers, ovov, or some of them at once, with a + [default: each by
    /// itself]
    #[arg(value_name = "MODE")]
    modes: Vec<String>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Lower {
    /// composefs, where every file is an object of a store
    Composefs,
    /// composefs, as mkcomposefs makes it: small files are in the image
    Inline,
    /// EROFS, as the suite has it
    Erofs,
}

impl Lower {
    /// As `scripts/in-guest/unionmount/run` calls it.
    fn name(self) -> &'static str {
        match self {
            Self::Composefs => "composefs",
            Self::Inline => "inline",
            Self::Erofs => "erofs",
        }
    }
}

const MODES: &[&str] = &["plain", "verify", "meta", "xino", "layers", "ovov"];

/// Runs it; gives the exit status.
pub fn run(options: &Options) -> Result<i32> {
    let Some(tree) = &options.tree else {
        return Ok(others::without_tree("unionmount"));
    };
    if !tree.join("mount_union.py").is_file() {
        bail!(
            "{} is no unionmount-testsuite: there is no mount_union.py",
            tree.display()
        );
    }
    let mut modes: Vec<&str> = options.modes.iter().map(String::as_str).collect();
    if modes.is_empty() {
        modes = MODES.to_vec();
    }
    if let Some(mode) = modes
        .iter()
        .find(|mode| !mode.split('+').all(|part| MODES.contains(&part)))
    {
        bail!("{mode}: no such mode (see --help)");
    }

    let run = Run::new("unionmount")?;
    run.copy(
        &place::checkout("scripts/in-guest/unionmount"),
        "unionmount",
    )?;
    run.copy(&tree.canonicalize()?, "unionmount/tree")?;
    let mut command = vec![
        "/opt/composefs/unionmount/run".to_owned(),
        "/opt/composefs/unionmount/tree".to_owned(),
    ];
    for mode in modes {
        command.extend(
            options
                .lower
                .iter()
                .map(|lower| format!("{mode}/{}", lower.name())),
        );
    }
    let counts = run.guest(&command, qemu::Machine::default(), true)?;
    Ok(i32::from(!counts.is_good()))
}
