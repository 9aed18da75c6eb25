// SPDX-License-Identifier: GPL-2.0-only
//! Entries that want the place of others, or places outside of the image.

mod common;

use common::image::clashes;
use common::{fails, ok, outside, repository, By, Layer, Layout};

const FILE: tar::EntryType = tar::EntryType::Regular;
const LINK: tar::EntryType = tar::EntryType::Link;

/// The last one counts, and takes all of the place.
#[test]
fn the_last_entry_counts() {
    let dir = tempfile::tempdir().expect("directory");
    let repository = repository(dir.path());
    let layout = Layout::new(&dir.path().join("image"));
    layout.image(&clashes());
    ok(&repository, &["pull", &layout.name(), "clashes"]);
    let listed = ok(&repository, &["ls", "clashes"]);
    let names: Vec<_> = listed
        .lines()
        .map(|line| line.split('\t').next().unwrap_or_default())
        .collect();
    assert_eq!(
        names,
        [
            "/both/",
            "/both/one",
            "/both/two",
            "/dir",
            "/dir-to-link",
            "/file/",
            "/file/in",
            "/link/",
            "/link/in",
            "/old-name",
            "/twice",
            "/usr/",
            "/whiteout/",
            "/whiteout/b",
        ],
        "{listed}"
    );
    assert!(listed.contains("/dir-to-link\t-> /etc\n"), "{listed}");
    assert_eq!(
        ok(&repository, &["digest", "clashes"]),
        ok(&repository, &["digest", "--compute", "clashes"])
    );
    ok(&repository, &["fsck", "--contents"]);
}

/// All paths are those of the image, where the root is its own.
#[test]
fn absolute_paths_are_of_the_image() {
    let dir = tempfile::tempdir().expect("directory");
    let repository = repository(dir.path());
    let absolute = dir.path().join("victim");
    let absolute = absolute.to_str().expect("text");
    let layer = Layer::new()
        .raw(absolute.as_bytes(), FILE, b"", &[1; 100])
        .raw(b"//a/.//./b", FILE, b"", &[2; 100])
        .raw(b"/c", LINK, b"//a/./b", b"")
        // There is nothing of that name to be taken away.
        .raw(b"/a/.wh...", FILE, b"", b"")
        .raw(b"/a/.wh.", FILE, b"", b"")
        .symlink("up", "../../../../../../etc")
        .symlink("out", absolute);
    let layout = Layout::new(&dir.path().join("image"));
    layout.image(&[(layer.bytes(), By::Gzip)]);
    let before = outside(dir.path(), &repository);
    ok(&repository, &["pull", &layout.name(), "image"]);
    assert!(outside(dir.path(), &repository) == before);
    let listed = ok(&repository, &["ls", "image"]);
    for want in [
        &format!("{absolute}\t"),
        "/a/b\t",
        "/c\n",
        "/up\t-> ../../../../../../etc\n",
        &format!("/out\t-> {absolute}\n"),
    ] {
        assert!(listed.contains(want), "{listed}");
    }
}

/// What an earlier entry, or one of an earlier layer, leads elsewhere.
#[test]
fn nothing_leads_out_of_the_image() {
    let dir = tempfile::tempdir().expect("directory");
    let repository = repository(dir.path());
    let victim = dir.path().join("victim");
    std::fs::create_dir(&victim).expect("directory");
    std::fs::write(victim.join("f"), b"f").expect("file");
    let victim = victim.to_str().expect("text");
    let link = || Layer::new().symlink("link", victim);
    let mut cases = Vec::new();
    for (name, way, want) in [
        (
            "file",
            Layer::new().file("link/f", b"x"),
            "'link/f': is in what is not a directory",
        ),
        (
            "directory",
            Layer::new().dir("link/d/e"),
            "'link/d/e': is in what is not a directory",
        ),
        (
            "whiteout",
            Layer::new().file("link/.wh.f", b""),
            "'link/.wh.f': is in what is not a directory",
        ),
        (
            "opaque",
            Layer::new().file("link/.wh..wh..opq", b""),
            "'link/.wh..wh..opq': is in what is not a directory",
        ),
        (
            "hard-link",
            Layer::new().hard_link("h", "link/f"),
            "'h': is a hard link to 'link/f', which is not there",
        ),
    ] {
        let second = way.bytes();
        let mut both = link().bytes();
        both.truncate(512);
        both.extend(&second);
        cases.push((format!("{name}-layers"), vec![link().bytes(), second], want));
        cases.push((format!("{name}-entries"), vec![both], want));
    }
    for (name, layer, want) in [
        (
            "dots",
            Layer::new().raw(b"a/../../f", FILE, b"", b""),
            "'a/../../f': has '..' in its path",
        ),
        (
            "dots-alone",
            Layer::new().raw(b"..", FILE, b"", b""),
            "'..': has '..' in its path",
        ),
        (
            "dots-behind-the-root",
            Layer::new().raw(b"/../f", FILE, b"", b""),
            "'/../f': has '..' in its path",
        ),
        (
            "dots-of-a-whiteout",
            Layer::new().raw(b"a/../../.wh.f", FILE, b"", b""),
            "'a/../../.wh.f': has '..' in its path",
        ),
        (
            "dots-of-a-hard-link",
            Layer::new().raw(b"a", LINK, b"../../f", b""),
            "'a': has '..' in its path",
        ),
    ] {
        cases.push((name.to_owned(), vec![layer.bytes()], want));
    }
    let before = std::fs::read(format!("{victim}/f")).expect("file");
    for (name, layers, want) in cases {
        let layout = Layout::new(&dir.path().join(&name));
        let layers: Vec<_> = layers.into_iter().map(|layer| (layer, By::Zstd)).collect();
        layout.image(&layers);
        let outside_before = outside(dir.path(), &repository);
        let from = layout.name();
        let error = fails(&repository, &["pull", &from, &name]);
        assert!(error.ends_with(want), "{name}: {error}");
        assert!(outside(dir.path(), &repository) == outside_before, "{name}");
        fails(&repository, &["digest", &name]);
        ok(&repository, &["fsck", "--contents"]);
    }
    assert_eq!(std::fs::read(format!("{victim}/f")).expect("file"), before);
}
