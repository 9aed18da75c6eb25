// SPDX-License-Identifier: GPL-2.0-only
//! Objects that are fetched from the layers of an OCI image.

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::built::{content, Built, FILES};
use common::{composefs, damage, everything, ok, quick_directory, repository, By, Layer, Layout};

/// The paths of all objects.
fn objects(repository: &Path) -> Vec<PathBuf> {
    everything(&repository.join("objects"))
}

#[test]
fn what_is_missing_comes_with_its_layer() {
    let built = Built::new();
    let target = repository(built.dir.path());
    let layout = Layout::new(&built.dir.path().join("layout"));
    let sources = [layout.name()];
    ok(&target, &built.arguments(&sources));
    built.expect_fetched(&target);
    // What else came with it is not kept.
    ok(&target, &["gc"]);
    assert_eq!(objects(&target).len(), FILES as usize + 1);

    let all = objects(&target);
    let gone = all.iter().find(|path| !path.ends_with(&built.digest[2..]));
    fs::remove_file(gone.expect("an object")).expect("removed");
    ok(&target, &built.arguments(&sources));
    built.expect_fetched(&target);
}

#[test]
fn a_layer_that_is_damaged_gives_nothing() {
    let built = Built::new();
    let target = repository(built.dir.path());
    let layout = Layout::new(&built.dir.path().join("layout"));
    let blobs = everything(&layout.blob_path("sha256:"));
    let largest = blobs
        .iter()
        .max_by_key(|path| fs::metadata(path).map_or(0, |data| data.len()));
    damage(largest.expect("a blob"));
    let output = composefs(&target, &built.arguments(&[layout.name()]));
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).expect("text");
    assert!(said.contains("layer sha256:"), "{said}");
    assert!(said.contains("is not asked again"), "{said}");
    // But the image, which nothing has a name for.
    assert_eq!(objects(&target).len(), 1);
    assert!(ok(&target, &["images"]).lines().count() <= 1);

    // Others may have what it has not.
    let both = [
        layout.name(),
        built.objects.to_str().expect("text").to_owned(),
    ];
    ok(&target, &built.arguments(&both));
    built.expect_fetched(&target);
}

/// Of layers that were pulled before it is known what is in them.
#[test]
fn no_layer_is_read_in_vain() {
    let dir = quick_directory();
    let layout = Layout::new(&dir.path().join("layout"));
    let layer = |name: &str, file| Layer::new().file(name, &content(file)).bytes();
    let made = layout.image(&[(layer("one", 2), By::Gzip), (layer("two", 3), By::Gzip)]);
    let target = dir.path().join("target");
    let from = layout.name();
    ok(&target, &["pull", &from, "image"]);
    let digest = ok(&target, &["digest", "image"]).trim().to_owned();
    let image = target.join("objects").join(&digest[..2]).join(&digest[2..]);
    let copy = dir.path().join("system.cfs");
    fs::copy(image, &copy).expect("copy");
    let two = objects(&target)
        .into_iter()
        .find(|path| fs::read(path).is_ok_and(|data| data == content(3)));
    fs::remove_file(two.expect("an object")).expect("removed");
    fs::remove_file(layout.blob_path(&made.layers[0])).expect("removed");
    let copy = copy.to_str().expect("text");
    ok(
        &target,
        &["fetch", copy, "--digest", &digest, "--from", &from],
    );
    ok(&target, &["fsck", "--contents"]);
}
