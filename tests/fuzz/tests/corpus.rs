// SPDX-License-Identifier: GPL-2.0-only
//! Every target with its kept corpus, and with mutations of that which are the same every time.

use std::path::PathBuf;

use composefs_fuzz::random::Random;
use composefs_fuzz::target;

/// Mutations for each target.
const MUTATIONS: usize = 5000;

/// The files of a directory that `is_wanted`, in the order of their names.
fn files(dir: &str, is_wanted: impl Fn(&str) -> bool) -> Vec<Vec<u8>> {
    let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(dir);
    let mut paths: Vec<_> = std::fs::read_dir(&dir)
        .unwrap_or_else(|error| panic!("{}: {error}", dir.display()))
        .map(|entry| entry.unwrap().path())
        .filter(|path| is_wanted(&path.to_string_lossy()))
        .collect();
    paths.sort();
    assert!(!paths.is_empty(), "{}: no files", dir.display());
    paths
        .iter()
        .map(|path| std::fs::read(path).unwrap())
        .collect()
}

fn run(name: &str) {
    const TESTS: &str = "../../fs/composefs/format/tests";

    let target = target(name);
    let mut corpus = files(&format!("corpus/{name}"), |_| true);
    // What the tests of the parser have is valid, and by all the tools that there are.
    corpus.extend(match name {
        "dump" => files(&format!("{TESTS}/images"), |path| path.ends_with(".dump")),
        "signature" => files(&format!("{TESTS}/signatures"), |_| true),
        "layer" | "stream" | "varlink" => Vec::new(),
        _ => files(&format!("{TESTS}/images"), |path| path.ends_with(".img")),
    });
    for input in &corpus {
        (target.run)(input);
    }
    let mut random = Random::new(name.len() as u64);
    for _ in 0..MUTATIONS {
        let mut input = corpus[random.index(corpus.len())].clone();
        for _ in 0..1 + random.index(3) {
            (target.mutate)(&mut input, &mut random);
        }
        (target.run)(&input);
    }
}

#[test]
fn open() {
    run("open");
}

#[test]
fn walk() {
    run("walk");
}

#[test]
fn lookup() {
    run("lookup");
}

#[test]
fn xattr() {
    run("xattr");
}

#[test]
fn model() {
    run("model");
}

#[test]
fn dump() {
    run("dump");
}

#[test]
fn signature() {
    run("signature");
}

#[test]
fn layer() {
    run("layer");
}

#[test]
fn stream() {
    run("stream");
}

#[test]
fn varlink() {
    run("varlink");
}
