// SPDX-License-Identifier: GPL-2.0-only
//! Lines of services for the journal. systemd takes the number in front for the priority.

use std::io::{stderr, Write};
use std::path::Path;

use crate::quote;

/// Something that was done or refused.
pub fn notice(text: &str) {
    write(5, text);
}

/// Something that the administrator should look at.
pub fn warning(text: &str) {
    write(4, text);
}

fn write(priority: u8, text: &str) {
    // Somebody who reads a terminal has no use for numbers.
    let begin = match std::env::var_os("JOURNAL_STREAM") {
        Some(_) => format!("<{priority}>"),
        None => format!("{}: ", program()),
    };
    // Nowhere to complain to if this fails.
    let _ = stderr().write_all(format!("{begin}{}\n", quote::line(text)).as_bytes());
}

/// The name that this program was called by.
fn program() -> String {
    let path = std::env::args_os().next().unwrap_or_default();
    let name = Path::new(&path).file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}
