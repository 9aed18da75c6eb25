// SPDX-License-Identifier: GPL-2.0-only OR MIT
//! The values of mount options.

use composefs_format::{basedirs, Verity};

fn split(value: &[u8]) -> Vec<Vec<u8>> {
    basedirs::split(value)
        .map(|path| path.bytes().collect())
        .collect()
}

fn join(paths: &[&[u8]]) -> Vec<u8> {
    basedirs::join(paths.iter().copied()).collect()
}

#[test]
fn paths_are_split_at_colons() {
    assert_eq!(split(b"/a"), [b"/a"]);
    assert_eq!(split(b"/a:/b:c"), [&b"/a"[..], b"/b", b"c"]);
    assert_eq!(split(b""), [b""]);
    assert_eq!(split(b"/a::/b:"), [&b"/a"[..], b"", b"/b", b""]);
}

#[test]
fn a_backslash_takes_a_colons_meaning_away() {
    assert_eq!(split(br"/a\:b:/c\\:/d"), [&b"/a:b"[..], br"/c\", b"/d"]);
    assert_eq!(split(br"/a\b\"), [br"/a\b\"]);
    assert_eq!(split(br"\\\:"), [br"\:"]);
}

#[test]
fn what_is_joined_is_split_again() {
    let lists: [&[&[u8]]; 5] = [
        &[b"/a"],
        &[b"/a", b"/b"],
        &[b":", br"\", br"\:"],
        &[br"/x\", b"", b":y"],
        &[b""],
    ];
    for paths in lists {
        assert_eq!(split(&join(paths)), paths, "{paths:?}");
    }
    assert_eq!(join(&[b"/a:b", br"c\d"]), br"/a\:b:c\\d");
    assert_eq!(join(&[]), b"");
}

#[test]
fn levels_have_names_and_numbers() {
    for (number, level) in [Verity::Off, Verity::On, Verity::Require]
        .into_iter()
        .enumerate()
    {
        assert_eq!(Verity::parse(level.name().to_bytes()), Some(level));
        assert_eq!(
            Verity::parse_number(number.to_string().as_bytes()),
            Some(level)
        );
    }
    assert!(Verity::Off < Verity::On && Verity::On < Verity::Require);
    for text in [&b""[..], b"of", b"off ", b"OFF", b"3", b"01"] {
        assert_eq!(Verity::parse(text), None);
        assert_eq!(Verity::parse_number(text), None);
    }
}
