// SPDX-License-Identifier: GPL-2.0-only
//! The library beside Debian's `libcomposefs1`, as `abidiff` of libabigail sees both. Debian's has
//! no debug information, so its types are those of its headers.
#![forbid(unsafe_code)]

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::{c_tools, directory, include, library, output, run};

const HEADERS: [&str; 2] = ["lcfs-writer.h", "lcfs-mount.h"];
const MOUNT_OPTIONS: &str = "struct lcfs_mount_options_s {";

fn their_library() -> PathBuf {
    c_tools().join("root/usr/lib/x86_64-linux-gnu/libcomposefs.so.1")
}

fn their_include() -> PathBuf {
    c_tools().join("root/usr/include/libcomposefs")
}

/// What `abidiff` says, and its exit status: 0 if it finds no difference.
fn abidiff(first: &Path, second: &Path) -> (String, Option<i32>) {
    let output = output(Command::new(c_tools().join("abidiff")).args([first, second]));
    let said = [output.stdout, output.stderr].concat();
    (
        String::from_utf8_lossy(&said).into_owned(),
        output.status.code(),
    )
}

fn expect_none(first: &Path, second: &Path) {
    assert_eq!(abidiff(first, second), (String::new(), Some(0)));
}

/// A library with all functions that the headers declare, and with the types in them; its path.
fn of_headers(include: &Path, dir: &Path) -> PathBuf {
    let mut source: String = HEADERS
        .map(|name| format!("#include \"{name}\"\n"))
        .concat();
    for header in HEADERS {
        let text = fs::read_to_string(include.join(header)).expect("read a header");
        for declaration in text.split("\nLCFS_EXTERN ").skip(1) {
            let declaration = declaration.split(';').next().unwrap_or_default();
            // No attribute may stand there in a definition.
            let head = declaration.split("__attribute__").next();
            source += &format!("{}\n{{ __builtin_trap(); }}\n", head.unwrap_or_default());
        }
    }
    let (from, to) = (dir.join("stub.c"), dir.join("libcomposefs.so.1"));
    fs::write(&from, source).expect("write a source");
    run(Command::new("cc")
        .args(["-std=gnu11", "-g", "-shared", "-fPIC", "-Werror"])
        .args([
            "-Wno-deprecated-declarations",
            "-Wl,-soname,libcomposefs.so.1",
        ])
        .arg("-I")
        .arg(include)
        .arg("-o")
        .args([&to, &from]));
    to
}

/// Our headers with `from` replaced by `to` in them; where they are.
fn changed_headers(dir: &Path, from: &str, to: &str) -> PathBuf {
    let mut replaced = 0;
    for name in HEADERS {
        let text = fs::read_to_string(include().join(name)).expect("read a header");
        replaced += text.matches(from).count();
        fs::write(dir.join(name), text.replace(from, to)).expect("write a header");
    }
    assert_eq!(replaced, 1, "{from}");
    dir.into()
}

/// Functions with their versions, and the name that programs are linked to.
#[test]
#[ignore = "compares with the C library, which COMPOSEFS_C_TOOLS must say where it is"]
fn symbols_of_the_libraries() {
    expect_none(&their_library(), &library());

    let dir = directory("abi-symbols");
    let one = "LCFS_EXTERN struct lcfs_node_s *lcfs_node_new(void);";
    let include = changed_headers(&dir, one, "");
    let (said, _) = abidiff(&their_library(), &of_headers(&include, &dir));
    assert!(said.contains("1 Removed"), "{said}");
}

/// All types that programs are compiled with.
#[test]
#[ignore = "compares with the C library, which COMPOSEFS_C_TOOLS must say where it is"]
fn types_of_the_headers() {
    let theirs = of_headers(&their_include(), &directory("abi-theirs"));
    expect_none(&their_library(), &theirs);
    let ours = of_headers(&include(), &directory("abi-ours"));
    expect_none(&theirs, &ours);

    let dir = directory("abi-types");
    let include = changed_headers(&dir, MOUNT_OPTIONS, &format!("{MOUNT_OPTIONS} int new;"));
    let (said, _) = abidiff(&theirs, &of_headers(&include, &dir));
    assert!(said.contains("lcfs_mount_options_s"), "{said}");
}

/// What in a report is more than that Rust calls a type by another name: sizes, positions, and the
/// number of parameters. The size of what C does not see counts as 0.
fn more_than_names(report: &str) -> Vec<&str> {
    let is_more = |line: &&str| {
        let from_nothing = line.contains("size changed from 0 ");
        (line.contains("size changed from") && !from_nothing)
            || line.contains("offset changed")
            || line.starts_with("parameter") && line.contains(" was ")
    };
    report.lines().map(str::trim).filter(is_more).collect()
}

/// The functions in Rust take what the headers declare.
#[test]
#[ignore = "compares with the C library, which COMPOSEFS_C_TOOLS must say where it is"]
fn types_of_the_library() {
    let theirs = of_headers(&their_include(), &directory("abi-of-c"));
    let (said, _) = abidiff(&theirs, &library());
    // Else it would have compared symbols only.
    assert!(said.contains("62 Changed"), "no types of Rust: {said}");
    assert_eq!(more_than_names(&said), [""; 0], "{said}");

    // Each of these would have been seen.
    for (name, from, to) in [
        ("abi-size", "size_t n_objdirs;", "uint32_t n_objdirs;"),
        (
            "abi-more",
            MOUNT_OPTIONS,
            "struct lcfs_mount_options_s { int new;",
        ),
        (
            "abi-parameter",
            "lcfs_node_new(void)",
            "lcfs_node_new(int flags)",
        ),
    ] {
        let dir = directory(name);
        let include = changed_headers(&dir, from, to);
        let (said, _) = abidiff(&theirs, &of_headers(&include, &dir));
        assert!(!more_than_names(&said).is_empty(), "{name}: {said}");
    }
}
