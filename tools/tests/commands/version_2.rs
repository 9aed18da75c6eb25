// SPDX-License-Identifier: GPL-2.0-only
//! Format version 2, which the C tool does not have.

use std::fs;
use std::process::Command;

use composefs_tools::dump;
use composefs_tools::fsverity::Algorithm;
use composefs_tools::image::{self, Options};

use crate::common;

macro_rules! kept {
    ($name:literal) => {
        include_bytes!(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../fs/composefs/format/tests/images/",
            $name
        ))
    };
}

fn make(algorithm: Algorithm, dump: &[u8]) -> Result<Vec<u8>, String> {
    let tree = dump::read(
        dump,
        &dump::Options {
            algorithm,
            strict: true,
        },
    );
    let options = Options {
        min_version: 2,
        max_version: 2,
        digest: None,
    };
    let mut made = Vec::new();
    image::write(tree.expect("valid dump"), &options, Some(&mut made))
        .map_err(|error| format!("{error:#}"))?;
    Ok(made)
}

#[test]
fn images_are_those_of_composefs_rs() {
    let kept: [(Algorithm, &[u8], &[u8]); 3] = [
        (
            Algorithm::Sha256,
            kept!("tree.dump"),
            kept!("rs-v2-sha256.img"),
        ),
        (
            Algorithm::Sha512,
            kept!("tree-sha512.dump"),
            kept!("rs-v2-sha512.img"),
        ),
        (
            Algorithm::Sha256,
            kept!("whiteouts.dump"),
            kept!("rs-v2-whiteouts.img"),
        ),
    ];
    for (number, (algorithm, dump, image)) in kept.into_iter().enumerate() {
        let made = make(algorithm, dump).expect("image");
        assert!(made == image, "{number}");
    }
}

/// composefs-rs puts these where EROFS cannot read them, or reads something else.
#[test]
fn what_has_no_room_behind_its_inode_is_refused() {
    let dump = |mode: &str, len: usize| {
        let text = "x".repeat(len);
        let what = match mode {
            "120777" => format!("{text} -"),
            _ => format!("- {text}"),
        };
        let root = "/ 0 40755 2 0 0 0 0.0 - - -";
        format!("{root}\n/a {len} {mode} 1 0 0 0 0.0 {what} -\n").into_bytes()
    };
    for (mode, refused) in [
        ("100644", &[4065, 4095, 4096, 4097, 5000][..]),
        ("120777", &[4065, 4095]),
    ] {
        make(Algorithm::Sha256, &dump(mode, 4064)).expect("image");
        for &len in refused {
            let error = make(Algorithm::Sha256, &dump(mode, len)).expect_err("no room");
            let cause = "bytes are more than an image of format version 2 can hold here";
            assert_eq!(error, format!("'/a': {len} {cause}"));
        }
    }
}

/// An inode counts 255 of them at most. composefs-rs loses count.
#[test]
fn many_xattrs_that_are_shared() {
    let xattrs: String = (0..300)
        .map(|number| format!(" user.{number:03}=x"))
        .collect();
    let dump = format!(
        "/ 0 40755 2 0 0 0 0.0 - - -\n\
         /a 0 100644 1 0 0 0 0.0 - - -{xattrs}\n\
         /b 0 100644 1 0 0 0 0.0 - - -{xattrs}\n"
    );
    let dir = common::directory("version-2");
    let image = dir.join("image");
    let made = make(Algorithm::Sha256, dump.as_bytes()).expect("image");
    fs::write(&image, made).expect("write image");
    let info = common::tool("composefs-info", env!("CARGO_BIN_EXE_composefs-info"));
    let told = Command::new(info).arg("dump").arg(&image).output();
    let told = String::from_utf8(told.expect("run composefs-info").stdout).expect("text");
    assert_eq!(told.matches(" user.").count(), 600, "{told}");
    fs::remove_dir_all(dir).expect("remove directory");
}
