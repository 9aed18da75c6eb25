// SPDX-License-Identifier: GPL-2.0-only
//! Tests that mount, in namespaces of their own.

use std::process::Command;

/// Set for the test in its namespace.
const INSIDE: &str = "COMPOSEFS_TEST_INSIDE";

/// Runs `test` where file systems may be mounted that nobody else sees.
pub fn inside(name: &str, test: impl FnOnce()) {
    if std::env::var_os(INSIDE).is_some() {
        return test();
    }
    let program = std::env::current_exe().expect("own path");
    let output = Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount"])
        .arg(program)
        .args(["--exact", name, "--nocapture"])
        .env(INSIDE, "1")
        .output()
        .expect("unshare runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let text = text + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
    assert!(text.contains("1 passed"), "{text}");
}
