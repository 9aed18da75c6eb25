// SPDX-License-Identifier: GPL-2.0-only
//! Every target with its kept corpus, and with mutations of that which are the same every time.

use std::path::PathBuf;

use composefs_fuzz::random::Random;
use composefs_fuzz::{target, Target};

/// Mutations of each file of a corpus, and in all, for each target.
const OF_EACH: usize = 20;
const IN_ALL: usize = 4000;

/// The files of a target's corpus, in the order of their names.
fn corpus(target: &Target) -> Vec<Vec<u8>> {
    let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("corpus")
        .join(target.name);
    let mut paths: Vec<_> = std::fs::read_dir(&dir)
        .unwrap_or_else(|error| panic!("{}: {error}", dir.display()))
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    assert!(!paths.is_empty(), "{} is empty", dir.display());
    paths
        .iter()
        .map(|path| std::fs::read(path).unwrap())
        .collect()
}

fn run(name: &str) {
    let target = target(name);
    let corpus = corpus(target);
    for input in &corpus {
        (target.run)(input);
    }
    let mut random = Random::new(name.len() as u64);
    for _ in 0..IN_ALL.min(OF_EACH * corpus.len()) {
        let mut input = corpus[random.below(corpus.len())].clone();
        for _ in 0..1 + random.below(3) {
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
