// SPDX-License-Identifier: GPL-2.0-only
//! `scripts/build-for`: where it cannot build, its one line says why, and what to do.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

/// A directory as that of a kernel's headers.
struct Headers {
    dir: TempDir,
}

impl Headers {
    fn new(version: [u32; 3], settings: &str) -> Self {
        let dir = TempDir::new().unwrap();
        let [version, patchlevel, sublevel] = version;
        let headers = Self { dir };
        headers.put(
            "Makefile",
            &format!("VERSION = {version}\nPATCHLEVEL = {patchlevel}\nSUBLEVEL = {sublevel}\n"),
        );
        headers.put(
            "include/config/kernel.release",
            &format!("{version}.{patchlevel}.{sublevel}-test\n"),
        );
        headers.put("include/config/auto.conf", settings);
        for program in ["bindgen", "gcc", "ld", "make"] {
            headers.program(program, "exit 1");
        }
        headers.program("rustc", "echo 'rustc 1.90.0 (of this test)'");
        headers
    }

    fn put(&self, name: &str, text: &str) {
        let file = self.dir.path().join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
    }

    /// A program that is found if the machine has none of that name.
    fn program(&self, name: &str, does: &str) {
        let name = format!("bin/{name}");
        self.put(&name, &format!("#!/bin/sh\n{does}\n"));
        let file = self.dir.path().join(name);
        fs::set_permissions(file, Permissions::from_mode(0o755)).unwrap();
    }

    /// What is said of it.
    fn refusal(&self, arguments: &[&str]) -> String {
        let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let path = std::env::var("PATH").unwrap();
        let output = Command::new(top.join("scripts/build-for"))
            .args(arguments)
            .arg("--out")
            .arg(self.dir.path().join("out"))
            .arg(self.dir.path())
            .env("PATH", format!("{path}:{}/bin", self.dir.path().display()))
            .output()
            .unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(output.stdout.is_empty());
        let line = said.strip_suffix('\n').unwrap();
        assert!(!line.contains('\n'), "more than a line: {said}");
        line.to_owned()
    }
}

fn assert_says(line: &str, parts: &[&str]) {
    for part in parts {
        assert!(line.contains(part), "no '{part}' in: {line}");
    }
}

const BY_ANOTHER: &str =
    "CONFIG_MODULES=y\nCONFIG_RUST=y\nCONFIG_RUSTC_VERSION_TEXT=\"rustc 1.2.3 (old)\"\n";

#[test]
fn no_headers() {
    let headers = Headers::new([7, 3, 1], "");
    fs::remove_file(headers.dir.path().join("include/config/kernel.release")).unwrap();
    assert_says(&headers.refusal(&[]), &["headers", "not installed"]);
}

#[test]
fn a_kernel_that_is_too_old() {
    let headers = Headers::new([7, 1, 13], "CONFIG_MODULES=y\nCONFIG_RUST=y\n");
    let line = headers.refusal(&[]);
    assert_says(
        &line,
        &["7.1.13-test", "too old", "7.2 or later", "install"],
    );
}

#[test]
fn without_rust_and_without_source() {
    let headers = Headers::new([7, 99, 0], "CONFIG_MODULES=y\n");
    let line = headers.refusal(&[]);
    assert_says(
        &line,
        &[
            "has no Rust (CONFIG_RUST)",
            "7.99.0",
            "install linux-source-7.99",
        ],
    );
}

#[test]
fn without_metadata_and_without_source() {
    let headers = Headers::new([7, 99, 0], BY_ANOTHER);
    let line = headers.refusal(&[]);
    assert_says(
        &line,
        &[
            "rust/libkernel.rmeta",
            "7.99.0",
            "install linux-source-7.99",
        ],
    );
}

#[test]
fn by_another_rustc() {
    let headers = Headers::new([7, 99, 0], BY_ANOTHER);
    for file in ["rust/libkernel.rmeta", "rust/libcore.rmeta"] {
        headers.put(file, "");
    }
    let line = headers.refusal(&[]);
    assert_says(
        &line,
        &[
            "was built by rustc 1.2.3 (old), and here is rustc 1.",
            "install linux-source-7.99",
        ],
    );
}

#[test]
fn source_of_another_version() {
    let headers = Headers::new([7, 99, 5], "CONFIG_MODULES=y\n");
    let source = Headers::new([7, 99, 4], "");
    for file in [
        "rust/kernel/lib.rs",
        "scripts/generate_rust_target.rs",
        "scripts/rust_is_available.sh",
        "scripts/min-tool-version.sh",
        "init/Kconfig",
        "drivers/base/base.h",
        "fs/internal.h",
    ] {
        source.put(file, "");
    }
    let line = headers.refusal(&["--source", source.dir.path().to_str().unwrap()]);
    assert_says(
        &line,
        &["of version 7.99.5", "is of 7.99.4", "install that version"],
    );
    let line = headers.refusal(&["--source", "/nonexistent/linux.tar.xz"]);
    assert_says(
        &line,
        &["/nonexistent/linux.tar.xz", "not the source of a kernel"],
    );
}
