// SPDX-License-Identifier: GPL-2.0-only
//! Lines for the journal: one for each decision. systemd takes the number in front for the priority.

use std::io::{stderr, Write};

use composefs_tools::quote;

/// Something that was granted or refused.
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
        None => "composefs-mountd: ".into(),
    };
    // Nowhere to complain to if this fails.
    let _ = stderr().write_all(format!("{begin}{}\n", quote::line(text)).as_bytes());
}
