// SPDX-License-Identifier: GPL-2.0-only
//! Damage of every kind, repaired from where the image came from.

mod common;

use std::fs;
use std::io::{Read, Seek};
use std::path::{Path, PathBuf};

use common::{
    composefs, damage, everything, fails, odd_layers, ok, pulled, quick_directory, repository,
    sha256, state, By, Layer, Layout, Pulled,
};
use composefs_repository::Repository;

/// What a repair that leaves faults says: all its lines, and the one on standard error.
fn left(repository: &Path, arguments: &[&str]) -> (String, String) {
    let output = composefs(repository, arguments);
    assert_eq!(output.status.code(), Some(1), "{arguments:?}");
    (
        String::from_utf8(output.stdout).expect("text"),
        String::from_utf8(output.stderr).expect("text"),
    )
}

/// The object of a file in an image.
fn object(repository: &Path, image: &str, path: &str) -> PathBuf {
    let listed = ok(repository, &["ls", image]);
    let start = format!("{path}\t@ ");
    let object = listed.lines().find_map(|line| line.strip_prefix(&start));
    repository.join("objects").join(object.expect("object"))
}

#[test]
fn whatever_is_damaged_or_gone() {
    let Pulled {
        dir: _dir,
        repository,
        ..
    } = pulled(&odd_layers());
    let whole = state(&repository);
    let mut count = 0;
    for path in whole.keys().filter(|path| !path.ends_with("meta.json")) {
        let is_object = path.starts_with(repository.join("objects"));
        let is_tag = path.ends_with("streams/refs/oci/image");
        let is_note = path.starts_with(repository.join("origins"));
        if is_tag || is_note {
            continue;
        }
        count += 1;
        fs::remove_file(path).expect("removed");
        repaired(&repository, &["fsck", "--repair"], path);
        assert!(state(&repository) == whole, "{}: gone", path.display());
        if is_object {
            damage(path);
            repaired(&repository, &["fsck", "--repair", "--contents"], path);
            assert!(state(&repository) == whole, "{}: damaged", path.display());
        } else {
            fs::remove_file(path).expect("removed");
            std::os::unix::fs::symlink("../objects/nothing", path).expect("link");
            repaired(&repository, &["fsck", "--repair"], path);
            assert!(state(&repository) == whole, "{}: elsewhere", path.display());
        }
    }
    assert!(count > 20, "only {count} things");
}

/// That there are faults, and that they are repaired.
fn repaired(repository: &Path, arguments: &[&str], what: &Path) {
    let check: Vec<_> = arguments
        .iter()
        .copied()
        .filter(|argument| *argument != "--repair")
        .collect();
    let (found, _) = left(repository, &check);
    let said = ok(repository, arguments);
    // A line for each fault, and one at the end.
    let faults: Vec<_> = found.lines().collect();
    for fault in &faults[..faults.len() - 1] {
        let line = format!("{fault}: repaired");
        assert!(
            said.lines().any(|said| said == line),
            "{what:?}: {line}\n{said}"
        );
    }
    assert_eq!(said.lines().count(), faults.len(), "{what:?}: {said}");
    ok(repository, &["fsck", "--contents"]);
}

/// Several faults at once: a line for each, also as JSON; and what has a file open keeps what it has.
#[test]
fn each_fault_has_a_line() {
    let Pulled {
        dir: _dir,
        layout,
        made,
        repository,
        ..
    } = pulled(&odd_layers());
    let large = object(&repository, "image", "/aa");
    let inside = object(&repository, "image", "/usr/bin/sym/inside");
    damage(&large);
    fs::remove_file(&inside).expect("removed");
    let mut open = fs::File::open(&large).expect("object");
    let before = fs::read(&large).expect("object");

    let told: serde_json::Value = serde_json::from_str(&ok(
        &repository,
        &["fsck", "--repair", "--contents", "--json"],
    ))
    .expect("JSON");
    assert_eq!(told["ok"], true);
    assert_eq!(told["errors"].as_array().expect("list").len(), 0);
    let repaired: Vec<_> = told["repaired"]
        .as_array()
        .expect("list")
        .iter()
        .map(|line| line.as_str().expect("line"))
        .collect();
    let shown = |path: &Path| {
        let path = path.strip_prefix(&repository).expect("path");
        path.to_str().expect("text").to_owned()
    };
    assert!(repaired.iter().all(|line| line.ends_with(": repaired")));
    let damaged = format!("{}: is damaged: its digest is ", shown(&large));
    assert!(
        repaired.iter().any(|line| line.starts_with(&damaged)),
        "{repaired:?}"
    );
    // The layer's stream needs the other, and the composefs image.
    let hex = shown(&inside).replace("objects/", "").replace('/', "");
    let needs = format!(": needs object {hex}, which is not there: repaired");
    let needing = repaired.iter().filter(|line| line.ends_with(&needs));
    assert_eq!(needing.count(), 2, "{repaired:?}");
    let mut kept = Vec::new();
    open.rewind().expect("open");
    open.read_to_end(&mut kept).expect("open");
    assert!(kept == before && fs::read(&large).expect("object") != before);

    // Nothing is wrong, and nothing is asked of anyone.
    fs::remove_dir_all(&layout.path).expect("removed");
    let told = ok(&repository, &["fsck", "--repair", "--contents"]);
    assert_eq!(told.lines().count(), 1, "{told}");
    assert_eq!(ok(&repository, &["fsck"]), told);
    ok(&repository, &["digest", &format!("@{}", made.manifest)]);
}

#[test]
fn what_cannot_be_fetched_is_left() {
    let Pulled {
        dir,
        layout,
        made,
        from,
        repository,
    } = pulled(&odd_layers());
    let large = object(&repository, "image", "/aa");
    damage(&large);
    let damaged = state(&repository);
    let refused = |want: &str| {
        let (lines, error) = left(&repository, &["fsck", "--repair", "--contents"]);
        assert_eq!(error, "composefs: 1 fault is left\n");
        let line = lines.lines().next().expect("a line");
        assert!(
            line.contains(": is damaged: its digest is ")
                && line.contains(": cannot be repaired: ")
                && line.contains(want),
            "{want}: {line}"
        );
        assert!(state(&repository) == damaged, "{want}");
    };

    // A layer that is not what it should be, or is not there.
    let blob = layout.blob_path(&made.layers[0]);
    let good = fs::read(&blob).expect("blob");
    let mut other = good.clone();
    other[100] ^= 1;
    fs::write(&blob, &other).expect("blob");
    refused(&format!("layer {}", made.layers[0]));
    fs::remove_file(&blob).expect("blob");
    refused("No such file or directory");
    fs::write(&blob, &good).expect("blob");

    // Another image, in place of this one.
    let aside = dir.path().join("aside");
    fs::rename(&layout.path, &aside).expect("moved");
    refused(&format!("'{from}': manifest {}: ", made.manifest));
    let elsewhere = Layout::new(&layout.path);
    let newer = elsewhere.image(&[(Layer::new().dir("usr").bytes(), By::Gzip)]);
    refused(&format!(
        "'{from}': has another image now, {}: ",
        newer.manifest
    ));

    // Nor is a manifest taken that is not the one.
    fs::write(elsewhere.blob_path(&made.manifest), b"{}").expect("blob");
    refused(&format!("its digest is sha256:{}", sha256(b"{}")));

    // A source that is not asked for, and one that is.
    let at = format!("oci:{}:t", aside.display());
    assert!(fails(&repository, &["fsck", "--from", &at]).contains("--repair"));
    assert!(
        fails(&repository, &["fsck", "--repair", "--from", "debian"])
            .contains("does not say where the image is")
    );
    let said = ok(
        &repository,
        &["fsck", "--repair", "--contents", "--from", &at],
    );
    assert!(said.contains(": repaired\n"), "{said}");
    ok(&repository, &["fsck", "--contents"]);
}

/// What composefs-rs pulled has no note, but the name may say it.
#[test]
fn a_name_may_say_where_it_came_from() {
    let dir = quick_directory();
    let layout = Layout::new(&dir.path().join("image"));
    layout.image(&odd_layers());
    let repository = repository(dir.path());
    let from = layout.name();
    ok(&repository, &["pull", &from]);
    ok(&repository, &["tag", &from, "a/name"]);
    fs::remove_dir_all(repository.join("origins")).expect("removed");
    let large = object(&repository, &from, "/aa");
    damage(&large);
    ok(&repository, &["fsck", "--repair", "--contents"]);
    ok(&repository, &["untag", &from]);
    damage(&large);
    let (lines, _) = left(&repository, &["fsck", "--repair", "--contents"]);
    assert!(
        lines.contains("it is not known where the image came from: say so with --from"),
        "{lines}"
    );
    // What was pulled again is known.
    ok(
        &repository,
        &["fsck", "--repair", "--contents", "--from", &from],
    );
    ok(&repository, &["pull", &from, "a/name"]);
    damage(&large);
    ok(&repository, &["fsck", "--repair", "--contents"]);
}

/// Names that lead to nothing: fetched again if it is known from where, or else removed.
#[test]
fn names_of_what_is_gone() {
    let Pulled {
        dir: _dir,
        repository,
        ..
    } = pulled(&odd_layers());
    let whole = state(&repository);
    let remove = |dir: &str| {
        for path in everything(&repository.join(dir)) {
            if !path.starts_with(repository.join("streams/refs")) {
                fs::remove_file(path).expect("removed");
            }
        }
    };
    ["objects", "streams", "images"]
        .iter()
        .for_each(|dir| remove(dir));
    let said = ok(&repository, &["fsck", "--repair"]);
    assert!(
        said.starts_with("streams/refs/oci/image: leads to oci-manifest-"),
        "{said}"
    );
    assert!(state(&repository) == whole);

    for dir in ["objects", "streams", "images", "origins"] {
        remove(dir);
    }
    fs::create_dir_all(repository.join("images/refs/some")).expect("directory");
    let reference = repository.join("images/refs/some/name");
    std::os::unix::fs::symlink("../../nothing", &reference).expect("link");
    let said = ok(&repository, &["fsck", "--repair"]);
    for line in [
        "images/refs/some/name: leads to nothing",
        "streams/refs/oci/image: leads to oci-manifest-",
    ] {
        let found = said
            .lines()
            .find(|said| said.starts_with(line))
            .expect("line");
        assert!(found.ends_with(", which is not there: removed"), "{found}");
    }
    assert_eq!(everything(&repository), [repository.join("meta.json")]);
}

/// What was left behind is removed, but not while somebody may be about to use it.
#[test]
fn what_was_left_behind() {
    let dir = quick_directory();
    let repository = repository(dir.path());
    let meta = [repository.join("meta.json")];
    let leftovers = [
        "objects/.tmp-1-2",
        "objects/.tmp-object-abc",
        ".symlink-xyz",
        ".tmp-3-4",
    ];
    fs::create_dir_all(repository.join("objects")).expect("directory");
    for path in leftovers {
        fs::write(repository.join(path), b"").expect("written");
    }
    let nothing = "0 objects, 0 streams, 0 images\n";
    assert_eq!(ok(&repository, &["fsck"]), nothing);
    let user = Repository::open(&repository).expect("repository");
    assert_eq!(ok(&repository, &["fsck", "--repair"]), nothing);
    assert_eq!(everything(&repository).len(), leftovers.len() + meta.len());
    drop(user);
    let said = ok(&repository, &["fsck", "--repair"]);
    for path in leftovers {
        assert!(
            said.contains(&format!("{path}: was left behind: removed\n")),
            "{said}"
        );
    }
    assert_eq!(everything(&repository), meta);
}

/// What is damaged and has to do with nothing is removed; what belongs to an image that has no name any
/// more is left to be collected.
#[test]
fn what_no_image_needs() {
    let Pulled {
        dir: _dir,
        repository,
        ..
    } = pulled(&odd_layers());
    let stray = format!("objects/ab/{}", "cd".repeat(31));
    let path = repository.join(&stray);
    fs::create_dir_all(path.parent().expect("directory")).expect("directory");
    fs::write(&path, b"stray").expect("written");
    let repair = ["fsck", "--repair", "--contents"];
    let user = Repository::open(&repository).expect("repository");
    let (said, _) = left(&repository, &repair);
    let want = ": cannot be repaired: others use the repository: try again\n";
    assert!(said.starts_with(&stray) && said.contains(want), "{said}");
    drop(user);
    let said = ok(&repository, &repair);
    let line = said.lines().next().expect("a line");
    assert!(
        line.starts_with(&stray) && line.ends_with(": removed"),
        "{line}"
    );
    assert!(!path.exists());

    let large = object(&repository, "image", "/aa");
    ok(&repository, &["rm", "image"]);
    damage(&large);
    let (said, _) = left(&repository, &repair);
    assert!(said.contains("(gc removes what nothing needs)"), "{said}");
    ok(&repository, &["gc"]);
    assert_eq!(everything(&repository), [repository.join("meta.json")]);
}
