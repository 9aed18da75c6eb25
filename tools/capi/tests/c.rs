// SPDX-License-Identifier: GPL-2.0-only
//! The library as C programs find it: headers, symbols, and what the functions do.
#![forbid(unsafe_code)]

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::{c_tools, directory, include, library, run};

/// A C program, compiled with our headers, and run on the library.
#[test]
fn a_c_program() {
    let dir = directory("c");
    let program = compile(&dir);
    let mut command = Command::new(&program);
    let said = run(command
        .env("LD_LIBRARY_PATH", dir.join("lib"))
        .current_dir(&dir));
    assert_eq!(said, "");
}

/// The same program finds nothing wrong with the library of composefs 1.0, so it says what that
/// does.
#[test]
#[ignore = "runs on the C library, which COMPOSEFS_C_TOOLS must say where it is"]
fn the_c_program_on_the_c_library() {
    let root = c_tools().join("root/usr");
    let dir = directory("c-on-c");
    let program = compile(&dir);
    let mut command = Command::new(root.join("lib64/ld-linux-x86-64.so.2"));
    command
        .arg("--library-path")
        .arg(root.join("lib/x86_64-linux-gnu"));
    let said = run(command.args([&program, Path::new("1.0")]).current_dir(&dir));
    assert_eq!(said, "");
}

/// The program, with the library below `dir`.
fn compile(dir: &Path) -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR"));
    let library_dir = dir.join("lib");
    fs::create_dir(&library_dir).expect("make a directory");
    for name in ["libcomposefs.so", "libcomposefs.so.1"] {
        fs::copy(library(), library_dir.join(name)).expect("copy the library");
    }
    let program = dir.join("program");
    run(Command::new("cc")
        .args(["-std=gnu11", "-Wall", "-Wextra", "-Werror", "-O1", "-o"])
        .arg(&program)
        .arg("-I")
        .arg(include())
        .arg(source.join("tests/program.c"))
        .arg("-L")
        .arg(&library_dir)
        .arg("-lcomposefs"));
    program
}

/// The functions that the headers declare are those that the library has, and no others.
#[test]
fn headers_and_symbols() {
    let include = include();
    let mut declared = BTreeSet::new();
    for header in ["lcfs-writer.h", "lcfs-mount.h"] {
        let text = fs::read_to_string(include.join(header)).expect("read a header");
        for part in text.split("LCFS_EXTERN ").skip(1) {
            let name = part.split('(').next().unwrap_or_default();
            let name = name.rsplit([' ', '*', '\n']).next().unwrap_or_default();
            declared.insert(name.to_owned());
        }
    }
    // The definition of the word.
    declared.remove("");
    let symbols = run(Command::new("nm")
        .args(["-D", "--defined-only"])
        .arg(library()));
    let defined: BTreeSet<_> = symbols
        .lines()
        .filter_map(|line| line.split(' ').nth(2))
        .map(str::to_owned)
        .collect();
    assert_eq!(declared, defined);
    assert_eq!(defined.len(), 62);
    let dynamic = run(Command::new("readelf").arg("-d").arg(library()));
    assert!(dynamic.contains("soname: [libcomposefs.so.1]"), "{dynamic}");
}
