// SPDX-License-Identifier: GPL-2.0-only
//! mkcomposefs --hardlinks: which of several names the inode goes with, and what is refused.

use std::fs;
use std::os::unix::fs::{symlink, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use composefs_tools::fsverity::{digest_of, object_path, Algorithm};
use rustix::fs::{mknodat, FileType, Mode, CWD};

use crate::common;

fn directory(name: &str) -> PathBuf {
    common::directory(&format!("hardlinks-{name}"))
}

fn make(arguments: &[&str], paths: &[&Path]) -> Output {
    let built = env!("CARGO_BIN_EXE_mkcomposefs");
    Command::new(common::tool("mkcomposefs", built))
        .args(arguments)
        .args(paths)
        .output()
        .expect("run mkcomposefs")
}

/// The inode goes with the name that a walk by names comes across first: `a/x`, as `a` is before
/// `a!`, though `a!` is the shorter path, and the lesser string.
#[test]
fn the_first_name_has_the_inode() {
    let dir = directory("first");
    let source = dir.join("source");
    let content = "large ".repeat(50);
    fs::create_dir_all(source.join("a/deep")).expect("create directories");
    fs::create_dir(source.join("b")).expect("create directory");
    fs::write(source.join("b/large"), &content).expect("write");
    fs::write(source.join("a!"), "small").expect("write");
    symlink("target", source.join("z")).expect("make a symlink");
    fs::write(source.join("alone"), "small").expect("write");
    for (file, link) in [
        ("b/large", "a/deep/large"),
        ("b/large", "0"),
        ("a!", "a/x"),
        ("a!", "a/y"),
        ("z", "b/z"),
    ] {
        fs::hard_link(source.join(file), source.join(link)).expect("make a hard link");
    }
    for (path, mode) in [
        (".", 0o755),
        ("a", 0o755),
        ("a/deep", 0o755),
        ("b", 0o755),
        ("0", 0o644),
        ("a!", 0o600),
        ("alone", 0o600),
    ] {
        let mode = fs::Permissions::from_mode(mode);
        fs::set_permissions(source.join(path), mode).expect("chmod");
    }
    let digest = digest_of(Algorithm::Sha256, content.as_bytes());
    let owner = source.metadata().expect("stat");
    let owner = format!("{} {} 0 0.0", owner.uid(), owner.gid());
    let dump = format!(
        "\
/ 0 40755 1 {owner} - - -
/0 300 100644 3 {owner} {} - {digest}
/a 0 40755 1 {owner} - - -
/a/deep 0 40755 1 {owner} - - -
/a/deep/large 0 @100644 1 {owner} /0 - -
/a/x 5 100600 3 {owner} - small -
/a/y 0 @100600 1 {owner} /a/x - -
/a! 0 @100600 1 {owner} /a/x - -
/alone 5 100600 1 {owner} - small -
/b 0 40755 1 {owner} - - -
/b/large 0 @100644 1 {owner} /0 - -
/b/z 6 120777 2 {owner} target - -
/z 0 @120777 1 {owner} /b/z - -
",
        object_path(&digest)
    );
    let text = dir.join("dump");
    fs::write(&text, dump).expect("write dump");
    let expected = make(&["--from-file"], &[&text, Path::new("-")]);
    let options = ["--use-epoch", "--skip-xattrs", "--hardlinks"];
    let linked = make(&options, &[&source, Path::new("-")]);
    assert!(linked.status.success(), "{linked:?}");
    assert!(linked.stdout == expected.stdout);
    // Without the option, they are as many files as names.
    let separate = make(&options[..2], &[&source, Path::new("-")]);
    assert!(separate.stdout != expected.stdout);
    fs::remove_dir_all(dir).expect("remove directory");
}

/// A whiteout stands for the absence of a name. What composefs-rs refuses, too.
#[test]
fn a_whiteout_with_two_names() {
    let dir = directory("whiteout");
    let source = dir.join("source");
    fs::create_dir(&source).expect("create directory");
    let mode = Mode::from_raw_mode(0o600);
    let (one, other) = (source.join("one"), source.join("other"));
    if mknodat(CWD, &one, FileType::CharacterDevice, mode, 0).is_err() {
        return;
    }
    fs::hard_link(one, other).expect("make a hard link");
    let image = dir.join("image");
    let output = make(&["--hardlinks"], &[&source, &image]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    let cause = "': a whiteout cannot have a second link";
    assert!(stderr.contains(cause), "{stderr}");
    assert!(stderr.contains("whiteout/source/o"), "{stderr}");
    assert!(!image.exists());
    let output = make(&[], &[&source, &image]);
    assert!(output.status.success(), "{output:?}");
    fs::remove_dir_all(dir).expect("remove directory");
}
