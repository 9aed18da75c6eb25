// SPDX-License-Identifier: GPL-2.0-only
//! `treecmp A B`: prints every difference between two trees, in every attribute that a composefs
//! image stores, and in the contents.
//!
//! Exit status: 0 if the trees are equal, 1 if they differ, 2 if they cannot be compared.
#![forbid(unsafe_code)]

use std::path::Path;
use std::process::ExitCode;

use anyhow::{bail, Result};
use composefs_selftests::compare::{differences, Links};
use composefs_selftests::tree;

const USAGE: &str = "usage: treecmp [--links=none|directories|files] A B
Compares type, mode, owner, size, mtime, device number, symlink, xattrs and content of every path.
Prints one line for every difference (first A's value, then B's), and a summary.
  --links=directories  also the link counts of directories
  --links=files        also which names are hard links of each other";

fn main() -> ExitCode {
    match compare() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("treecmp: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn compare() -> Result<bool> {
    let mut links = Links::Ignore;
    let mut paths = Vec::new();
    for argument in std::env::args_os().skip(1) {
        match argument.to_str() {
            Some("--links=none") => links = Links::Ignore,
            Some("--links=directories") => links = Links::Directories,
            Some("--links=files") => links = Links::Files,
            Some("-h" | "--help") => {
                println!("{USAGE}");
                return Ok(true);
            }
            Some(option) if option.starts_with('-') => bail!("unknown option {option}\n{USAGE}"),
            _ => paths.push(argument),
        }
    }
    let [a, b] = paths.as_slice() else {
        bail!("two directories are needed\n{USAGE}");
    };
    let a = tree::read(Path::new(a))?;
    let b = tree::read(Path::new(b))?;
    let found = differences(&a, &b, links);
    for difference in &found {
        println!("{difference}");
    }
    println!("{} entries, {} differences", a.len(), found.len());
    Ok(found.is_empty())
}
