// SPDX-License-Identifier: GPL-2.0-only
//! Where the libraries are, and running programs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Our library, which cargo builds before tests.
pub fn library() -> PathBuf {
    let exe = std::env::current_exe().expect("this program");
    exe.with_file_name("libcomposefs.so")
}

/// The directory of our headers.
pub fn include() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("include")
}

/// Where composefs in C is, and what compares libraries.
pub fn c_tools() -> PathBuf {
    let tools = std::env::var_os("COMPOSEFS_C_TOOLS");
    tools.expect("COMPOSEFS_C_TOOLS is set").into()
}

/// What a program does, which can be run.
pub fn output(command: &mut Command) -> Output {
    command.output().expect("run a program")
}

/// What a program prints, which succeeds.
pub fn run(command: &mut Command) -> String {
    let output = output(command);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {text}{errors}");
    text
}

/// An empty directory.
pub fn directory(name: &str) -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_dir_all(&dir);
    fs::create_dir_all(&dir).expect("make a directory");
    dir
}
