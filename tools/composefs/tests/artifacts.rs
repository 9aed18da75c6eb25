// SPDX-License-Identifier: GPL-2.0-only
//! What is in registries and is no image of a file system.

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::{
    damage, everything, fails, odd_layers, ok, quick_directory, repository, state, Layout,
};

/// The configuration of what needs none.
const EMPTY: (&[u8], &str) = (b"{}", "application/vnd.oci.empty.v1+json");
const CUSTOM: (&[u8], &str) = (b"\x00not JSON", "application/vnd.example.config");
const TEXT: &str = "text/plain";
const GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

fn pull(repository: &Path, layout: &Layout, name: &str) {
    let from = format!("oci:{}:t", layout.path.display());
    ok(repository, &["pull", &from, name]);
}

fn gzip(data: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    std::io::Write::write_all(&mut encoder, data).expect("gzip");
    encoder.finish().expect("gzip")
}

/// Blobs of any kind, one of them an archive.
fn thing(layout: &Layout) -> common::Made {
    let archive = gzip(&odd_layers()[2].0);
    let large: Vec<u8> = (0..2_000_000_u32).map(|number| number as u8).collect();
    let blobs: [(&[u8], &str); 4] = [
        (b"short", TEXT),
        (&large, "application/wasm"),
        (b"", TEXT),
        (&archive, GZIP),
    ];
    layout.artifact(CUSTOM, &blobs)
}

#[test]
fn an_artifact_is_listed_and_not_mounted() {
    let dir = quick_directory();
    let layout = Layout::new(&dir.path().join("image"));
    let made = thing(&layout);
    let repository = repository(dir.path());
    pull(&repository, &layout, "thing");
    let listed = ok(&repository, &["images"]);
    let line = listed.lines().nth(1).expect("a line");
    let words: Vec<_> = line.split_whitespace().collect();
    assert_eq!(words, ["thing", &made.manifest[7..19], "artifact", "4"]);
    let listed: serde_json::Value =
        serde_json::from_str(&ok(&repository, &["images", "--json"])).expect("JSON");
    assert_eq!(listed[0]["artifact_type"], "application/vnd.example.thing");
    assert!(listed[0]["composefs"].is_null() && listed[0]["architecture"].is_null());
    let inspected: serde_json::Value =
        serde_json::from_str(&ok(&repository, &["inspect", "thing"])).expect("JSON");
    assert_eq!(inspected["manifest_digest"], made.manifest.as_str());
    assert_eq!(inspected["artifact_type"], "application/vnd.example.thing");
    assert!(inspected["config"].is_null() && inspected["composefs"].is_null());
    let config = ok(&repository, &["inspect", "--config", "thing"]);
    assert_eq!(config.as_bytes(), [CUSTOM.0, b"\n"].concat());

    let target = dir.path().to_str().expect("text").to_owned();
    for arguments in [
        &["mount", "thing", &target][..],
        &["ls", "thing"],
        &["digest", "thing"],
        &["digest", "--compute", "thing"],
        &["karg", "thing"],
    ] {
        let error = fails(&repository, arguments);
        assert!(
            error.ends_with(
                "image 'thing': is an artifact, 'application/vnd.example.thing': \
                 it has no file system that could be mounted"
            ),
            "{error}"
        );
    }
    ok(&repository, &["fsck", "--contents"]);
    assert!(ok(&repository, &["gc"]).starts_with("0 objects"));
    ok(&repository, &["rm", "thing"]);
    ok(&repository, &["gc"]);
    assert_eq!(everything(&repository), [repository.join("meta.json")]);
}

/// Several have the same configuration: each has its own blobs.
#[test]
fn artifacts_with_one_configuration() {
    let dir = quick_directory();
    let repository = repository(dir.path());
    for name in ["a", "b"] {
        let layout = Layout::new(&dir.path().join(name));
        let content = name.repeat(1000);
        layout.artifact(EMPTY, &[(content.as_bytes(), TEXT)]);
        pull(&repository, &layout, name);
        pull(&repository, &layout, name);
    }
    let has = |content: &str| {
        let objects = everything(&repository.join("objects"));
        let is_it = |path: &PathBuf| fs::read(path).is_ok_and(|found| found == content.as_bytes());
        objects.iter().any(is_it)
    };
    ok(&repository, &["fsck", "--contents"]);
    ok(&repository, &["gc"]);
    assert!(has(&"a".repeat(1000)) && has(&"b".repeat(1000)));
    ok(&repository, &["rm", "b"]);
    ok(&repository, &["gc"]);
    assert!(has(&"a".repeat(1000)) && !has(&"b".repeat(1000)));
    ok(&repository, &["fsck", "--contents"]);
    ok(&repository, &["rm", "a"]);
    ok(&repository, &["gc"]);
    assert_eq!(everything(&repository), [repository.join("meta.json")]);
}

#[test]
fn damaged_artifacts_are_repaired() {
    let dir = quick_directory();
    let layout = Layout::new(&dir.path().join("image"));
    thing(&layout);
    let repository = repository(dir.path());
    pull(&repository, &layout, "thing");
    let whole = state(&repository);
    for path in whole.keys().filter(|path| !path.ends_with("meta.json")) {
        let is_tag = path.ends_with("streams/refs/oci/thing");
        if is_tag || path.starts_with(repository.join("origins")) {
            continue;
        }
        fs::remove_file(path).expect("removed");
        ok(&repository, &["fsck", "--repair"]);
        assert!(state(&repository) == whole, "{}: gone", path.display());
        if path.starts_with(repository.join("objects")) {
            damage(path);
            ok(&repository, &["fsck", "--repair", "--contents"]);
            assert!(state(&repository) == whole, "{}: damaged", path.display());
        }
    }
}

#[test]
fn wrong_blobs_leave_nothing() {
    let dir = quick_directory();
    let repository = repository(dir.path());
    type Damage<'a> = &'a dyn Fn(&mut Vec<u8>);
    let cases: [(&str, Damage); 4] = [
        ("other", &|blob| blob[0] ^= 1),
        ("longer", &|blob| blob.push(1)),
        ("shorter", &|blob| blob.truncate(5)),
        ("empty", &|blob| blob.clear()),
    ];
    for (name, change) in cases {
        let layout = Layout::new(&dir.path().join(name));
        let made = layout.artifact(EMPTY, &[(b"some blob", TEXT)]);
        let path = layout.blob_path(&made.layers[0]);
        let mut blob = fs::read(&path).expect("blob");
        change(&mut blob);
        fs::write(&path, blob).expect("blob");
        let from = format!("oci:{}:t", layout.path.display());
        let error = fails(&repository, &["pull", &from, name]);
        assert!(
            error.contains(&format!("layer {}: ", made.layers[0])),
            "{error}"
        );
        assert_eq!(
            everything(&repository),
            [repository.join("meta.json")],
            "{name}"
        );
    }
}
