// SPDX-License-Identifier: GPL-2.0-only
//! Our tools beside the C tools of composefs 1.0.8: the same input, the same image, the same text.
//!
//! And the C tools beside themselves, on our `libcomposefs.so.1` in place of their own.
//!
//! `COMPOSEFS_C_TOOLS` names the directory that holds `mkcomposefs` and `composefs-info`, and
//! `COMPOSEFS_CAPI` that of our library; where they are set, run with `--include-ignored`. Inputs are random but seeded: a failure names the seed,
//! and its input stays in the directory that it names.

#[path = "../common/mod.rs"]
mod common;
mod dumps;
mod odd_dumps;
mod rng;
mod rs;
mod run;
mod trees;

use std::fs;
use std::path::Path;

use common::few;
use rng::Rng;
use run::{assert_same_images, assert_same_info, Tools};

const DUMPS: u64 = 250;
const MUTATIONS: u64 = 400;
const TREES: u64 = 60;

#[test]
#[ignore = "compares with the C tools, which COMPOSEFS_C_TOOLS must say where they are"]
fn dumps_make_the_same_images() {
    same_images_of_dumps(&Tools::find());
}

#[test]
#[ignore = "compares with the C tools, which COMPOSEFS_C_TOOLS must say where they are"]
fn dumps_make_the_same_images_on_our_library() {
    same_images_of_dumps(&Tools::on_library());
}

fn same_images_of_dumps(tools: &Tools) {
    for seed in 0..few(DUMPS) {
        let mut rng = Rng::new(seed);
        let case = tools.case("dump", seed);
        let dump = case.path("in.dump");
        fs::write(&dump, dumps::random(&mut rng)).expect("write dump");
        let mut options = run::version_options(&mut rng);
        options.push("--from-file".into());
        let made = assert_same_images(tools, &case, &options, &dump);
        assert!(made, "seed {seed}: the C tool refuses a valid dump");
        assert_same_info(tools, &case, &mut rng);
        case.done();
    }
}

#[test]
#[ignore = "compares with the C tools, which COMPOSEFS_C_TOOLS must say where they are"]
fn dumps_are_refused_alike() {
    same_refusals(&Tools::find());
}

#[test]
#[ignore = "compares with the C tools, which COMPOSEFS_C_TOOLS must say where they are"]
fn dumps_are_refused_alike_on_our_library() {
    same_refusals(&Tools::on_library());
}

fn same_refusals(tools: &Tools) {
    let mut refused = 0;
    for seed in 0..few(MUTATIONS) {
        let mut rng = Rng::new(seed);
        let case = tools.case("mutation", seed);
        let dump = case.path("in.dump");
        let valid = dumps::random(&mut rng);
        fs::write(&dump, dumps::mutate(&mut rng, valid)).expect("write dump");
        let options = vec!["--from-file".into()];
        refused += u64::from(!assert_same_images(tools, &case, &options, &dump));
        case.done();
    }
    let all = few(MUTATIONS);
    let some = all / 10 + 1..all * 9 / 10;
    assert!(some.contains(&refused), "{refused} of {all} were refused");
}

#[test]
#[ignore = "compares with the C tools, which COMPOSEFS_C_TOOLS must say where they are"]
fn odd_dumps_are_treated_alike() {
    same_for_odd_dumps(&Tools::find());
}

#[test]
#[ignore = "compares with the C tools, which COMPOSEFS_C_TOOLS must say where they are"]
fn odd_dumps_are_treated_alike_on_our_library() {
    same_for_odd_dumps(&Tools::on_library());
}

fn same_for_odd_dumps(tools: &Tools) {
    for (number, dump) in (0..).zip(odd_dumps::all()) {
        let case = tools.case("odd", number);
        let path = case.path("in.dump");
        fs::write(&path, &dump).expect("write dump");
        assert_same_images(tools, &case, &["--from-file".into()], &path);
        let strict = tools.strict();
        assert_same_images(&strict, &case, &["--from-file".into()], &path);
        case.done();
    }
}

#[test]
#[ignore = "compares with the C tools, which COMPOSEFS_C_TOOLS must say where they are"]
fn directories_make_the_same_images_and_stores() {
    same_images_of_directories(&Tools::find());
}

#[test]
#[ignore = "compares with the C tools, which COMPOSEFS_C_TOOLS must say where they are"]
fn directories_make_the_same_images_and_stores_on_our_library() {
    same_images_of_directories(&Tools::on_library());
}

fn same_images_of_directories(tools: &Tools) {
    for seed in 0..few(TREES) {
        let mut rng = Rng::new(seed);
        let case = tools.case("tree", seed);
        let source = case.path("source");
        trees::random(&mut rng, &source);
        let mut options = run::version_options(&mut rng);
        options.extend(run::walk_options(&mut rng));
        let made = assert_same_images(tools, &case, &options, &source);
        assert!(made, "seed {seed}: the C tool refuses a directory");
        assert_same_info(tools, &case, &mut rng);
        // The C tool writes every object through to the disk, which takes its time.
        if seed % 4 == 0 {
            run::assert_same_stores(tools, &case, &source);
        }
        case.done();
    }
}

#[test]
#[ignore = "compares with the C tools, which COMPOSEFS_C_TOOLS must say where they are"]
fn a_large_directory() {
    same_for_a_large_directory(&Tools::find());
}

#[test]
#[ignore = "compares with the C tools, which COMPOSEFS_C_TOOLS must say where they are"]
fn a_large_directory_on_our_library() {
    same_for_a_large_directory(&Tools::on_library());
}

fn same_for_a_large_directory(tools: &Tools) {
    let case = tools.case("large", 0);
    let dump = case.path("in.dump");
    let mut text = b"/ 0 40755 2 0 0 0 1.5 - - -\n/d 0 40755 2 0 0 0 1.5 - - -\n".to_vec();
    for number in 0..100_000 {
        text.extend_from_slice(
            format!("/d/file-{number:05} 1 100644 1 0 0 0 2.5 - x -\n").as_bytes(),
        );
    }
    fs::write(&dump, text).expect("write dump");
    assert!(assert_same_images(
        tools,
        &case,
        &["--from-file".into()],
        &dump
    ));
    assert_same_info(tools, &case, &mut Rng::new(0));
    case.done();
}

#[test]
#[ignore = "compares with the C tools, which COMPOSEFS_C_TOOLS must say where they are"]
fn real_directories() {
    same_for_real_directories(&Tools::find());
}

#[test]
#[ignore = "compares with the C tools, which COMPOSEFS_C_TOOLS must say where they are"]
fn real_directories_on_our_library() {
    same_for_real_directories(&Tools::on_library());
}

fn same_for_real_directories(tools: &Tools) {
    for (number, source) in ["/etc", "/usr/bin", "/usr/share/doc"].iter().enumerate() {
        let case = tools.case("real", number as u64);
        if Path::new(source).is_dir() {
            assert_same_images(tools, &case, &[], Path::new(source));
            assert_same_info(tools, &case, &mut Rng::new(0));
        }
        case.done();
    }
}
