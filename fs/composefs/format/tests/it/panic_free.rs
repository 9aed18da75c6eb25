// SPDX-License-Identifier: GPL-2.0-only OR MIT
//! The parser cannot panic: its machine code, compiled with the options of the kernel, refers to nothing that panics.
//!
//! The optimizer drops every check that cannot fail, so what is left shows in the symbols of the object file. What the
//! kernel's own build of `core` adds to that, for it too has overflow checks, shows in the symbols of the module.

use std::path::Path;
use std::process::Command;

/// Parts of the names of what panics in `core`, such as `panic_fmt`, `unwrap_failed` and `slice_index_order_fail`.
const PANICS: [&str; 2] = ["panic", "_fail"];

/// The options of the kernel's build that bear on panics.
const OPTIONS: [&str; 7] = [
    "--edition=2021",
    "--crate-type=lib",
    "--emit=obj",
    "-Cpanic=abort",
    "-Copt-level=2",
    "-Coverflow-checks=on",
    "-Ccodegen-units=1",
];

/// Compiles `source` and returns which of [`PANICS`] its object file mentions.
fn panics_in(source: &Path) -> Vec<&'static str> {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let object = dir.join(source.with_extension("o").file_name().unwrap());
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc)
        .args(OPTIONS)
        .arg("-o")
        .arg(&object)
        .arg(source)
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let object = std::fs::read(object).unwrap();
    let mentions = |name: &&str| {
        object
            .windows(name.len())
            .any(|part| part == name.as_bytes())
    };
    let text = std::fs::read_to_string(source).unwrap();
    for line in text.lines() {
        if let Some((name, _)) = line.strip_prefix("pub fn ").and_then(|f| f.split_once('(')) {
            assert!(mentions(&name), "{name} was not compiled");
        }
    }
    PANICS.into_iter().filter(mentions).collect()
}

#[test]
fn parser_cannot_panic() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/panic_free/parser.rs");
    assert_eq!(panics_in(&source), Vec::<&str>::new());
}

#[test]
fn gate_notices_what_can_panic() {
    let sources = [
        ("index", "bytes: &[u8], i: usize", "u8", "bytes[i]"),
        ("slice", "bytes: &[u8], i: usize", "&[u8]", "&bytes[i..]"),
        ("unwrap", "value: Option<u8>", "u8", "value.unwrap()"),
        ("expect", "value: Option<u8>", "u8", "value.expect(\"\")"),
        ("result", "value: Result<u8, u8>", "u8", "value.unwrap()"),
        ("overflow", "a: u32, b: u32", "u32", "a + b"),
        ("division", "a: u32, b: u32", "u32", "a / b"),
        (
            "copy",
            "a: &mut [u8], b: &[u8]",
            "()",
            "a.copy_from_slice(b)",
        ),
        (
            "split",
            "a: &[u8], b: usize",
            "(&[u8], &[u8])",
            "a.split_at(b)",
        ),
        (
            "explicit",
            "a: u32",
            "u32",
            "if a > 1 { panic!() } else { a }",
        ),
    ];
    for (name, arguments, result, body) in sources {
        let source = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("gate-{name}.rs"));
        let text = format!(
            "#![no_std]\n#[inline(never)]\npub fn f({arguments}) -> {result} {{ {body} }}\n"
        );
        std::fs::write(&source, text).unwrap();
        assert_ne!(panics_in(&source), Vec::<&str>::new(), "{name}");
    }
}
