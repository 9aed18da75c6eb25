// SPDX-License-Identifier: GPL-2.0-only
//! Images that are not what they are said to be, or have what no file system has.

mod common;

use std::fs;

use common::{everything, fails, ok, repository, set_sum, sha256, By, Layer, Layout};

/// Nothing of a layer that is not what the manifest says gets a name.
#[test]
fn wrong_layers_leave_nothing() {
    let dir = tempfile::tempdir().expect("directory");
    let repository = repository(dir.path());
    let layer = Layer::new()
        .dir("usr")
        .file("usr/large", &[7; 100_000])
        .bytes();
    let refused =
        |name: &str, by: By, diff_id: Option<&str>, damage: &dyn Fn(Vec<u8>) -> Vec<u8>| {
            let layout = Layout::new(&dir.path().join(name));
            let own = format!("sha256:{}", sha256(&layer));
            let diff_id = diff_id.unwrap_or(&own).to_owned();
            let made = layout.image_with(&[(layer.clone(), by)], &[diff_id]);
            let blob = layout.blob_path(&made.layers[0]);
            fs::write(&blob, damage(fs::read(&blob).expect("blob"))).expect("blob");
            let error = fails(&repository, &["pull", &layout.name(), "wrong"]);
            assert_eq!(
                everything(&repository),
                [repository.join("meta.json")],
                "{name}: {error}"
            );
            error
        };
    let same = |blob: Vec<u8>| blob;
    let other = format!("sha256:{}", "0".repeat(64));
    let error = refused("diff-id", By::Gzip, Some(&other), &same);
    assert!(
        error.contains("when decompressed: is not what it should be"),
        "{error}"
    );
    for (name, by) in [
        ("plain", By::Nothing),
        ("gzip", By::Gzip),
        ("zstd", By::Zstd),
    ] {
        let error = refused(&format!("{name}-longer"), by, None, &|blob| {
            [blob, vec![0; 512]].concat()
        });
        assert!(error.contains("is of more than"), "{error}");
        refused(&format!("{name}-shorter"), by, None, &|mut blob| {
            blob.truncate(blob.len() / 2);
            blob
        });
        refused(&format!("{name}-other"), by, None, &|mut blob| {
            let middle = blob.len() / 2;
            blob[middle] ^= 1;
            blob
        });
        refused(&format!("{name}-empty"), by, None, &|_| Vec::new());
    }
}

#[test]
fn what_no_file_system_has_is_refused() {
    let dir = tempfile::tempdir().expect("directory");
    let repository = repository(dir.path());
    let refused = |name: &str, layer: Layer, want: &str| {
        let layout = Layout::new(&dir.path().join(name));
        layout.image(&[(layer.bytes(), By::Gzip)]);
        let error = fails(&repository, &["pull", &layout.name(), name]);
        assert!(error.contains(want), "{name}: {error}");
        assert!(
            fails(&repository, &["digest", name]).contains("there is none"),
            "{name}"
        );
    };
    let file = tar::EntryType::Regular;
    refused(
        "link-to-nothing",
        Layer::new().hard_link("a", "b"),
        "which is not there",
    );
    refused(
        "link-to-directory",
        Layer::new().dir("b").hard_link("a", "b"),
        "which is a directory",
    );
    refused(
        "in-a-file",
        Layer::new().file("a", b"").file("a/b", b""),
        "is in what is not a directory",
    );
    refused(
        "behind-a-link",
        Layer::new().symlink("a", "/etc").file("a/b", b""),
        "is in what is not a directory",
    );
    refused(
        "usr-is-a-file",
        Layer::new().file("usr", b""),
        "'/usr': is not a directory",
    );
    refused(
        "a-volume",
        Layer::new().entry("a", tar::EntryType::new(b'V'), 0, "", b""),
        "which a file system does not have",
    );
    let mut layer = Layer::new().entry("a/b", file, 0o644, "", b"").bytes();
    layer[..10].copy_from_slice(b"a/../../b\0");
    set_sum(&mut layer);
    let layout = Layout::new(&dir.path().join("dots"));
    layout.image(&[(layer, By::Nothing)]);
    let error = fails(&repository, &["pull", &layout.name(), "dots"]);
    assert!(error.contains("has '..' in its path"), "{error}");
}

/// In an image of version 2 nobody could follow it.
#[test]
fn a_symlink_that_version_2_has_no_room_for() {
    let dir = tempfile::tempdir().expect("directory");
    let layout = Layout::new(&dir.path().join("image"));
    let layer = Layer::new().symlink("long", &"t/".repeat(2040));
    layout.image(&[(layer.bytes(), By::Gzip)]);
    let from = layout.name();
    ok(&repository(dir.path()), &["pull", &from, "long"]);
    let repository = dir.path().join("2");
    ok(&repository, &["init", "--insecure", "--erofs-version=1,2"]);
    let error = fails(&repository, &["pull", &from, "long"]);
    assert!(
        error.contains("'/long': 4080 bytes are more than"),
        "{error}"
    );
    fails(&repository, &["digest", "long"]);
    assert!(!repository.join("images").exists());
}
