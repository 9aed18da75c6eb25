// SPDX-License-Identifier: GPL-2.0-only
//! Where the tools under test are, and where tests may write.
//!
//! A test program that was copied elsewhere, into a guest say, is told by the environment:
//! `COMPOSEFS_TOOLS` is the directory of the tools, `COMPOSEFS_TEST_DIR` one to write to.

use std::fs;
use std::path::{Path, PathBuf};

/// One of our tools; `built` is where cargo has put it.
pub fn tool(name: &str, built: &str) -> PathBuf {
    match std::env::var_os("COMPOSEFS_TOOLS") {
        Some(dir) => Path::new(&dir).join(name),
        None => built.into(),
    }
}

/// An empty directory.
pub fn directory(name: &str) -> PathBuf {
    let base = std::env::var_os("COMPOSEFS_TEST_DIR");
    let base = base.unwrap_or_else(|| env!("CARGO_TARGET_TMPDIR").into());
    let dir = Path::new(&base).join(name);
    let _ = fs::remove_dir_all(&dir);
    fs::create_dir_all(&dir).expect("create directory");
    dir
}

/// How many random inputs are tried of `all`: where `COMPOSEFS_FEW_SEEDS` is set, for whom every second
/// counts, a tenth.
pub fn few(all: u64) -> u64 {
    match std::env::var_os("COMPOSEFS_FEW_SEEDS") {
        Some(_) => all / 10,
        None => all,
    }
}
