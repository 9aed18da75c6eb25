// SPDX-License-Identifier: GPL-2.0-only
//! The Test Anything Protocol, as kselftest writes it.

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
/// Returns failure if any case failed, so that the status alone tells too.
pub fn run<C>(setup: impl FnOnce() -> Result<C>, cases: &[Case<C>]) -> ExitCode {
    println!("TAP version 13");
    println!("1..{}", cases.len() + 1);
    let mut report = Report::default();
    let log = KernelLog::follow();

    match setup() {
        Ok(mut context) => {
            for (name, case) in cases {
                report.point(name, case(&mut context));
            }
        }
        Err(error) => {
            let skip = error.downcast_ref::<Skip>().map(|skip| skip.0.clone());
            for (name, _) in cases {
                let result = match &skip {
                    Some(reason) => Skip(reason.clone()).into(),
                    None => anyhow::anyhow!("setup failed: {error:#}"),
                };
                report.point(name, Err(result));
            }
        }
    }
    report.point(
        "the kernel reports no fault",
        log.and_then(|mut log| log.expect_no_fault()),
    );
    report.finish()
}

#[derive(Default)]
struct Report {
    number: usize,
    failed: usize,
    skipped: usize,
}

impl Report {
    fn point(&mut self, name: &str, result: Result<()>) {
        self.number += 1;
        let number = self.number;
        match result {
            Ok(()) => println!("ok {number} {name}"),
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

    fn finish(self) -> ExitCode {
        let passed = self.number - self.failed - self.skipped;
        note(format_args!(
            "Totals: pass:{passed} fail:{} skip:{}",
            self.failed, self.skipped
        ));
        ExitCode::from(u8::from(self.failed > 0))
    }
}
