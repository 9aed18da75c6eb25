// SPDX-License-Identifier: GPL-2.0-only
//! A short form of all that takes long and needs nothing that only a user has: others' suites, tests
//! of the tests, other machines.

use anyhow::Result;

use crate::suite::Suite;
use crate::tap::Counts;
use crate::{crate_mutants, kselftest, module, mutants, note, stress};

/// Of stress-ng and others.
const PARTS: &[&str] = &["stress-ng/composefs"];

/// Of kselftest.
const TESTS: &[&str] = &["t_read", "t_overlay"];

/// Of the driver.
const MUTANTS: &[&str] = &["acls-not-asked", "attributes-without-verity"];

/// Of the parser.
const FILE: &str = "fs/composefs/format/verity.rs";

/// For whose kernels the module is built.
const SUITES: &[Suite] = &[Suite::RtAmd64, Suite::Arm64Pages16K];

/// Runs all of it, and tells of what failed.
pub fn run(tell: &mut dyn FnMut(String)) -> Result<Counts> {
    let mut all = Counts::default();
    let mut add = |name: &str, counts: Counts| {
        if !counts.is_good() {
            tell(format!("{name}: FAILED: see above"));
        }
        all += counts;
    };
    let options = stress::Options {
        parts: owned(PARTS),
        ..Default::default()
    };
    add("stress", stress::counts(&options)?.unwrap_or_default());
    add("kselftest", kselftest::counts(&owned(TESTS))?);
    let options = mutants::Options {
        names: owned(MUTANTS),
        ..Default::default()
    };
    let counts = mutants::counts(&options)?;
    println!("mutants: {counts}");
    add("mutants", counts);
    let options = crate_mutants::Options {
        packages: owned(&["composefs-format"]),
        files: owned(&[FILE]),
        ..Default::default()
    };
    add("crate-mutants", crate_mutants::counts(&options)?);
    for suite in SUITES {
        note!("module for {suite}: building (usually 20 seconds)");
        let options = module::Options {
            suite: Some(*suite),
            ..Default::default()
        };
        let counts = match module::build(&options) {
            Ok(_) => {
                println!("{suite}: the module is built");
                Counts::of(1, 0, 0)
            }
            Err(error) => {
                println!("{suite}: {error:#}");
                Counts::of(0, 1, 0)
            }
        };
        add(suite.name(), counts);
    }
    Ok(all)
}

fn owned(names: &[&str]) -> Vec<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}
