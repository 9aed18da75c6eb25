// SPDX-License-Identifier: GPL-2.0-only
//! The test program that compares the forms of a large image, in the root of others' programs: the
//! emulated guest would take hours for it, and it needs nothing of the kernel.

use std::ffi::OsString;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, Result};
use tempfile::TempDir;

use crate::registry::Tools;
use crate::suite::Suite;
use crate::tap::{Counts, Report};
use crate::{note, payload, place};

/// Files besides, and the bytes of the largest.
const SIZE: [&str; 2] = ["50000", "2147483648"];

/// Runs it.
pub fn run(tell: &mut (dyn FnMut(String) + Send)) -> Result<Counts> {
    let tools = Tools::get()?;
    let scratch = TempDir::with_prefix_in("forms-", place::build("x")?.with_file_name(""))?;
    let payload = scratch.path().join("payload");
    payload::make(&payload::Options {
        tests: true,
        bench: false,
        suite: Suite::Trixie,
        module: None,
        part: Some(payload::Part::Programs),
        dir: payload.clone(),
    })?;
    note!("forms of a large image: running (usually 5 minutes)");
    let set = |name: &str, to: &Path| {
        let mut word = OsString::from(name);
        word.push("=");
        word.push(to);
        word
    };
    let mut child = tools
        .command(&[], Path::new("/usr/bin/env"))?
        .arg(set("PAYLOAD", &payload))
        .arg(set("SCRATCH", scratch.path()))
        .arg(set("CONTAINERS", Path::new("/")))
        .arg(payload.join("tests/forms"))
        .args(SIZE)
        .stdout(Stdio::piped())
        .spawn()?;
    let mut report = Report::new(tell);
    report.line("#begin forms");
    let output = child.stdout.take().context("a pipe")?;
    for line in BufReader::new(output).lines() {
        report.line(&line?);
    }
    let status = child.wait()?.code().unwrap_or(255);
    report.line(&format!("#end forms {status}"));
    Ok(report.finish())
}
