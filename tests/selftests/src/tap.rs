// SPDX-License-Identifier: GPL-2.0-only
//! The Test Anything Protocol, as kselftest writes it.

use std::env;
use std::fmt;
use std::process::ExitCode;

use anyhow::Result;

use crate::kernel_log::KernelLog;

/// One test point: its name, and what decides it. An error fails it, a [`Skip`] error skips it.
pub type Case<C> = (&'static str, fn(&mut C) -> Result<()>);

/// The error that means "this cannot be tried here", with the reason.
#[derive(Debug)]
pub struct Skip(pub String);

impl fmt::Display for Skip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Skip {}

/// Prints a diagnostic line (or several).
pub fn note(text: impl fmt::Display) {
    for line in text.to_string().lines() {
        println!("# {line}");
    }
}

/// Runs `cases` in order on what `setup` makes, and prints the results. If `setup` fails or skips,
/// so does every case.
///
/// One more case follows them: that the kernel reported no fault of its own meanwhile. What
/// `setup` made is dropped before that, so unmounting is covered by it.
///
/// Only the cases whose numbers are in `COMPOSEFS_SELFTEST_POINTS`, where there is that, and in the
/// order that they have there.
///
/// Returns failure if any case failed, so that the status alone tells too, and kselftest's status
/// for what is skipped if `setup` skips.
pub fn run<C>(setup: impl FnOnce() -> Result<C>, cases: &[Case<C>]) -> ExitCode {
    println!("TAP version 13");
    println!("1..{}", cases.len() + 1);
    let mut report = Report::default();
    let log = KernelLog::follow();
    let wanted: Vec<usize> = match env::var("COMPOSEFS_SELFTEST_POINTS") {
        Ok(list) => list
            .split(',')
            .filter_map(|word| word.parse().ok())
            .collect(),
        Err(_) => (1..=cases.len()).collect(),
    };
    let wanted = wanted
        .into_iter()
        .filter_map(|number| Some((number, cases.get(number.checked_sub(1)?)?)));

    let mut is_skipped = false;
    match setup() {
        Ok(mut context) => {
            for (number, (name, case)) in wanted {
                report.point(number, name, case(&mut context));
            }
        }
        Err(error) => {
            let skip = error.downcast_ref::<Skip>().map(|skip| skip.0.clone());
            is_skipped = skip.is_some();
            for (number, (name, _)) in wanted {
                let result = match &skip {
                    Some(reason) => Skip(reason.clone()).into(),
                    None => anyhow::anyhow!("setup failed: {error:#}"),
                };
                report.point(number, name, Err(result));
            }
        }
    }
    report.point(
        cases.len() + 1,
        "the kernel reports no fault",
        log.and_then(|mut log| log.expect_no_fault()),
    );
    report.finish(is_skipped)
}

/// What kselftest takes for "skipped".
const SKIPPED: u8 = 4;

#[derive(Default)]
struct Report {
    passed: usize,
    failed: usize,
    skipped: usize,
}

impl Report {
    fn point(&mut self, number: usize, name: &str, result: Result<()>) {
        match result {
            Ok(()) => {
                self.passed += 1;
                println!("ok {number} {name}");
            }
            Err(error) => match error.downcast_ref::<Skip>() {
                Some(Skip(reason)) => {
                    self.skipped += 1;
                    println!("ok {number} {name} # SKIP {reason}");
                }
                None => {
                    self.failed += 1;
                    println!("not ok {number} {name}");
                    note(format_args!("{error:#}"));
                }
            },
        }
    }

    fn finish(self, is_skipped: bool) -> ExitCode {
        note(format_args!(
            "Totals: pass:{} fail:{} xfail:0 xpass:0 skip:{} error:0",
            self.passed, self.failed, self.skipped
        ));
        ExitCode::from(match (self.failed, is_skipped) {
            (0, true) => SKIPPED,
            (failed, _) => u8::from(failed > 0),
        })
    }
}
