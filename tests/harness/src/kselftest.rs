// SPDX-License-Identifier: GPL-2.0-only
//! The tests as a part of the kernel's own: in a kernel tree, by kselftest's means alone.

use std::path::Path;

use anyhow::{bail, Result};
use clap::Args;

use crate::kernel::Kernel;
use crate::others::Run;
use crate::overlay::Overlay;
use crate::process::{self, Log};
use crate::suite::Suite;
use crate::tap::Counts;
use crate::toolchain::Toolchain;
use crate::{note, place, qemu, vm};

/// Runs the tests in a guest as the kernel's own tests are run: by kselftest
///
/// scripts/into-tree puts them into a copy of the stock kernel's tree; there, `make -C
/// tools/testing/selftests TARGETS=filesystems/composefs install` builds and installs them, and
/// `run_kselftest.sh` runs them in the guest.
///
/// The whole output is in build/suites/kselftest.
#[derive(Args)]
pub struct Options {
    /// Only these (t_read, t_files)
    #[arg(value_name = "TEST")]
    tests: Vec<String>,
}

/// Runs them; gives the exit status.
pub fn run(options: &Options) -> Result<i32> {
    Ok(i32::from(!counts(&options.tests)?.is_good()))
}

/// Runs these tests, or all.
pub fn counts(tests: &[String]) -> Result<Counts> {
    let run = Run::new("kselftest")?;
    let log = Log::create(place::build("suites/kselftest/build.log")?)?;
    note!("kselftest: building and installing (usually 4 minutes)");
    if let Err(error) = install(&run.payload().join("kselftest"), &log) {
        let reason = process::reason(&log.text());
        bail!(
            "kselftest: {error:#}: {reason}; see {}",
            log.path().display()
        );
    }
    run.copy(
        &place::checkout("scripts/in-guest/kselftest"),
        "run-kselftest",
    )?;
    let mut command = vec!["/opt/composefs/run-kselftest".to_owned()];
    command.extend(tests.iter().cloned());
    let machine = qemu::Machine {
        memory: "3G".into(),
        blank_disk: vec![4 << 30],
        ..Default::default()
    };
    run.guest(&command, machine, tests.is_empty())
}

/// Installs them at `to`, which is in the checkout.
fn install(to: &Path, log: &Log) -> Result<()> {
    let kernel = Kernel::of(Suite::Trixie)?;
    let toolchain = Toolchain::of(Suite::Trixie)?;
    let run = vm::RunDirectory::new()?;
    let overlay = Overlay::new(kernel.dir(), run.dir())?;
    let tree = overlay.tree();
    // It is the same tree for both, though gone in between.
    overlay.put_file_system(log)?;
    let mut make = toolchain.command(&[tree], "make")?;
    make.arg("-C").arg(tree.join("tools/testing/selftests"));
    make.args([
        "TARGETS=filesystems/composefs",
        "FORCE_TARGETS=1",
        "install",
    ]);
    for (variable, path) in [
        ("KSFT_INSTALL_PATH", to.to_path_buf()),
        // What is built there once need not be again.
        (
            "CARGO_TARGET_DIR",
            place::checkout("target/debian").canonicalize()?,
        ),
    ] {
        make.arg(format!("{variable}={}", path.display()));
    }
    log.run(&mut overlay.around(&make))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;

    use super::*;
    use crate::programs::TOOLS;

    #[test]
    fn every_test_of_the_driver_is_a_program_of_kselftest() -> Result<()> {
        let mut programs = BTreeSet::new();
        for entry in fs::read_dir(place::checkout("tests/selftests/src/bin"))? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            let name = name.trim_end_matches(".rs");
            if name.starts_with("t_") && !TOOLS.contains(&name) {
                programs.insert(name.to_owned());
            }
        }
        let makefile = fs::read_to_string(place::checkout("tests/selftests/kselftest/Makefile"))?;
        let listed: BTreeSet<String> = makefile
            .lines()
            .filter_map(|line| line.strip_prefix("TEST_GEN_PROGS ")?.split(' ').nth(1))
            .map(str::to_owned)
            .collect();
        assert_eq!(listed, programs);
        Ok(())
    }
}
