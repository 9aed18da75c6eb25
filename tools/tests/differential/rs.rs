// SPDX-License-Identifier: GPL-2.0-only
//! mkcomposefs beside composefs-rs: what the C tool does not have, other digests, hard links, and
//! format version 2.

use std::ffi::OsString;
use std::fs;
use std::path::Path;

use crate::rng::Rng;
use crate::run::{self, Case};
use crate::{dumps, few, trees};

const SEEDS: u64 = 60;
const DUMPS: u64 = 250;

#[test]
#[ignore = "compares with composefs-rs, whose cfsctl COMPOSEFS_RS_TOOLS must say where it is"]
fn sha512_images_are_those_of_composefs_rs() {
    let rs = std::env::var_os("COMPOSEFS_RS_TOOLS").expect("COMPOSEFS_RS_TOOLS is set");
    let mut compared = 0;
    for seed in 0..few(SEEDS / 2) {
        let case = Case::new("sha512", seed);
        let source = case.path("source");
        trees::random(&mut Rng::new(seed), &source);
        let same = |algorithm| {
            let (theirs, ours) = run::digests_of_both(Path::new(&rs), algorithm, 1, &[], &source);
            ours == Some(theirs)
        };
        // It is not always of one mind with the C tool, of a directory with both whiteouts and a
        // mark of being opaque, for instance. There the C tool is right.
        if same("sha256") {
            assert!(same("sha512"), "seed {seed}");
            compared += 1;
        }
        case.done();
    }
    assert!(
        compared > few(SEEDS) / 12,
        "only {compared} could be compared"
    );
}

#[test]
#[ignore = "compares with composefs-rs, whose cfsctl COMPOSEFS_RS_TOOLS must say where it is"]
fn hard_links_are_those_of_composefs_rs() {
    let rs = std::env::var_os("COMPOSEFS_RS_TOOLS").expect("COMPOSEFS_RS_TOOLS is set");
    let mut compared = 0;
    for seed in 0..few(SEEDS) {
        let case = Case::new("hardlinks", seed);
        let mut rng = Rng::new(seed);
        let source = case.path("source");
        trees::random(&mut rng, &source);
        // It does not go from one version to the next where there are whiteouts.
        let version = rng.below(2);
        let mut options: Vec<OsString> = ["min", "max"]
            .map(|bound| format!("--{bound}-version={version}").into())
            .into();
        options.extend(run::walk_options(&mut rng));
        // Times before 1970 are the latest of all to composefs-rs.
        if !options.contains(&"--use-epoch".into()) {
            options.push("--use-epoch".into());
        }
        let [separate, theirs] = run::images_of_both(Path::new(&rs), &case, &options, &source);
        // Where they are not of one mind without hard links, nothing is to be learnt.
        if separate == theirs {
            options.push("--hardlinks".into());
            let [ours, theirs] = run::images_of_both(Path::new(&rs), &case, &options, &source);
            assert!(
                ours == theirs,
                "seed {seed}: images differ with {options:?}"
            );
            compared += u64::from(ours != separate);
        }
        case.done();
    }
    assert!(
        compared > few(SEEDS) / 4,
        "only {compared} could be compared"
    );
}

#[test]
#[ignore = "compares with composefs-rs, whose tools COMPOSEFS_RS_TOOLS must say where they are"]
fn dumps_make_the_version_2_of_composefs_rs() {
    let rs = std::env::var_os("COMPOSEFS_RS_TOOLS").expect("COMPOSEFS_RS_TOOLS is set");
    for seed in 0..few(DUMPS) {
        let case = Case::new("version-2", seed);
        let dump = case.path("in.dump");
        let (algorithm, size) = [("sha256", 32), ("sha512", 64)][seed as usize % 2];
        let text = dumps::random_for_rs(size, &mut Rng::new(seed));
        fs::write(&dump, &text).expect("write dump");
        let [theirs, ours] = run::images_of_dump(Path::new(&rs), &case, algorithm, &dump);
        assert!(ours == theirs, "seed {seed}: images differ");
        run::assert_same_again(&case, algorithm, &text, &ours);
        case.done();
    }
}

/// With more it loses count.
#[test]
#[ignore = "compares with composefs-rs, whose tools COMPOSEFS_RS_TOOLS must say where they are"]
fn as_many_shared_xattrs_as_composefs_rs_can_count() {
    let rs = std::env::var_os("COMPOSEFS_RS_TOOLS").expect("COMPOSEFS_RS_TOOLS is set");
    let case = Case::new("version-2-xattrs", 0);
    let dump = case.path("in.dump");
    let mut text = String::from("/ 0 40755 2 0 0 0 0.0 - - -\n");
    for name in ["a", "b"] {
        text.push_str(&format!("/{name} 0 100644 1 0 0 0 0.0 - - -"));
        (0..255).for_each(|number| text.push_str(&format!(" user.{number:03}=x")));
        text.push('\n');
    }
    fs::write(&dump, text).expect("write dump");
    let [theirs, ours] = run::images_of_dump(Path::new(&rs), &case, "sha256", &dump);
    assert!(ours == theirs, "images differ");
    case.done();
}

#[test]
#[ignore = "compares with composefs-rs, whose cfsctl COMPOSEFS_RS_TOOLS must say where it is"]
fn directories_make_the_version_2_of_composefs_rs() {
    let rs = std::env::var_os("COMPOSEFS_RS_TOOLS").expect("COMPOSEFS_RS_TOOLS is set");
    let mut compared = 0;
    for seed in 0..few(SEEDS) {
        let case = Case::new("version-2-tree", seed);
        let source = case.path("source");
        trees::random(&mut Rng::new(seed), &source);
        for algorithm in ["sha256", "sha512"] {
            let (theirs, ours) =
                run::digests_of_both(Path::new(&rs), algorithm, 2, &["--hardlinks"], &source);
            if let Some(ours) = ours {
                assert!(ours == theirs, "seed {seed}: {algorithm} differs");
                compared += 1;
            }
        }
        case.done();
    }
    assert!(compared > few(SEEDS), "only {compared} could be compared");
}
