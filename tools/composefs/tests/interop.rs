// SPDX-License-Identifier: GPL-2.0-only
//! Repositories that composefs-rs made, and ours in its hands.
//!
//! `COMPOSEFS_RS_TOOLS` names the directory that holds `cfsctl`; where it is set, run with
//! `--include-ignored`.

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::image::clashes;
use common::peers::cfsctl;
use common::{damage, everything, fails, odd_layers, ok, By, Layer, Layout};

/// Layers with all that images have: what decides over how they are laid out.
fn rich_layers() -> Vec<(Vec<u8>, By)> {
    use tar::EntryType::{Block, Char, Fifo};

    const CAPABILITY: &str = "SCHILY.xattr.security.capability";
    let capability: &[u8] = b"\x01\0\0\x02\0\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    let other = [&capability[..19], b"\x01"].concat();
    let label: &[u8] = b"system_u:object_r:bin_t:s0\0";
    let mut first = Layer::new()
        .dir("usr")
        .dir("usr/bin")
        .dir("zz")
        .pax(&[(CAPABILITY, capability), ("mtime", b"1234567890.5")])
        .file("usr/bin/ping", &[b'p'; 70_000])
        .pax(&[
            (CAPABILITY, capability),
            ("SCHILY.xattr.security.selinux", label),
            ("SCHILY.xattr.user.note", b"not kept"),
        ])
        .file("usr/bin/arping", &[b'p'; 70_000])
        .pax(&[(CAPABILITY, &other)])
        .file("usr/bin/alone", b"inline")
        .device("null", Char, (1, 3))
        .device("disk", Block, (259, 70_000))
        .device("whiteout", Char, (0, 0))
        .entry("fifo", Fifo, 0o600, "", b"")
        // Its inode is at the first of its names, or where the file was.
        .file("zz/last", &[b'z'; 100])
        .hard_link("aa", "zz/last")
        .hard_link("mm", "zz/last")
        .file(&"n".repeat(255), b"")
        .symlink("short", "x")
        .symlink("long", &"t".repeat(1000))
        .symlink("longer", &"u/".repeat(2000))
        .dir("gone")
        .file("gone/file", b"g")
        .dir("opaque")
        .file("opaque/old", b"o")
        .dir("many");
    for number in 0..400 {
        let name = format!("many/{number:03}-{}", "m".repeat(number % 60));
        first = first.file(&name, &vec![b'0'; number]);
    }
    let second = Layer::new()
        .file(".wh.gone", b"")
        .dir("opaque")
        .file("opaque/.wh..wh..opq", b"")
        .file("opaque/new", &[b'n'; 3000])
        .hard_link("0", "zz/last")
        .file("many/.wh.007-mmmmmmm", b"")
        .entry("usr/bin/su", tar::EntryType::Regular, 0o4755, "", b"setuid");
    vec![(first.bytes(), By::Gzip), (second.bytes(), By::Zstd)]
}

/// What is said of how repositories are to be: the algorithm, and which images there are to be.
const KINDS: [(&str, &str); 6] = [
    ("sha256", "1"),
    ("sha512", "1"),
    ("sha256", "2"),
    ("sha512", "2"),
    ("sha256", "1,2"),
    ("sha512", "2,1"),
];

/// An empty repository for each tool.
fn repositories(dir: &Path, (algorithm, versions): (&str, &str)) -> [PathBuf; 2] {
    let (ours, theirs) = (dir.join("ours"), dir.join("theirs"));
    let arguments = ["init", "--insecure", "--algorithm", algorithm];
    let arguments = [&arguments[..], &["--erofs-version", versions]].concat();
    ok(&ours, &arguments);
    let long = format!("fsverity-{algorithm}-12");
    let arguments = ["init", "--insecure", "--algorithm", &long];
    match versions {
        // cfsctl cannot make one for both, but it heeds what says so.
        "1,2" | "2,1" => {
            fs::create_dir(&theirs).expect("directory");
            fs::copy(ours.join("meta.json"), theirs.join("meta.json")).expect("copy");
        }
        version => {
            cfsctl(
                &theirs,
                &[&arguments[..], &["--erofs-version", version]].concat(),
            );
        }
    }
    let metadata = |path: &Path| fs::read_to_string(path.join("meta.json")).expect("metadata");
    assert_eq!(metadata(&ours), metadata(&theirs));
    [ours, theirs]
}

/// Both tools pull the same image, and have the same images and streams then.
#[test]
#[ignore = "compares with composefs-rs, which COMPOSEFS_RS_TOOLS must say where it is"]
fn images_of_each_version_are_those_of_composefs_rs() {
    let dir = tempfile::tempdir().expect("directory");
    for (name, layers) in [("rich", rich_layers()), ("odd", odd_layers())] {
        let layout = Layout::new(&dir.path().join(name));
        layout.image(&layers);
        let from = layout.name();
        for kind in KINDS {
            let (algorithm, versions) = kind;
            let dir = dir.path().join(format!("{name}-{algorithm}-{versions}"));
            let [ours, theirs] = repositories(&dir, kind);
            ok(&ours, &["pull", &from, "image"]);
            cfsctl(&theirs, &["oci", "pull", &from, "image"]);
            cfsctl(&theirs, &["gc"]);
            let count = versions.split(',').count();
            assert_eq!(names(&ours, "images").len(), count, "{kind:?}");
            for part in ["images", "streams"] {
                assert_eq!(names(&ours, part), names(&theirs, part), "{kind:?}");
            }
            // The stream of the configuration is the same, too. That of the manifest refers to the
            // layers in an order of chance with cfsctl.
            let configs = [&ours, &theirs].map(|repository| {
                let streams = names(repository, "streams").into_iter();
                let mut configs =
                    streams.filter(|name| name.to_string_lossy().starts_with("oci-config-"));
                let config = configs.next().expect("stream of the configuration");
                fs::read_link(repository.join("streams").join(config)).expect("link")
            });
            assert_eq!(configs[0], configs[1], "{kind:?}");
            let [ours_count, theirs_count] =
                [&ours, &theirs].map(|repository| names(repository, "objects").len());
            assert_eq!(ours_count, theirs_count, "{kind:?}");
            for repository in [&ours, &theirs] {
                let digest = ok(repository, &["digest", "image"]);
                assert_eq!(ok(repository, &["digest", "--compute", "image"]), digest);
                assert_eq!(cfsctl(repository, &["oci", "compute-id", "image"]), digest);
                let inspected = ok(repository, &["inspect", "image"]);
                assert!(inspected.contains(digest.trim()), "{inspected}");
                let karg = match versions.starts_with('1') {
                    true => format!("composefs.digest=?v1-{algorithm}-12:{digest}"),
                    false => format!("composefs=?{digest}"),
                };
                assert_eq!(ok(repository, &["karg", "image"]), karg);
                ok(repository, &["fsck", "--contents"]);
                cfsctl(repository, &["oci", "fsck"]);
            }
            // In version 2 whiteouts are left alone, and no others are added.
            let listed = ok(&ours, &["ls", "image"]);
            assert_eq!(listed, ok(&theirs, &["ls", "image"]));
            let wants = ["/0", "/aa", "/long", "/many/008-mmmmmmmm", "/usr/bin/ping"];
            if name == "rich" {
                for path in wants {
                    let has = |line: &str| line.split('\t').next() == Some(path);
                    assert!(listed.lines().any(has), "{path}: {listed}");
                }
            }
            fs::remove_dir_all(&dir).expect("remove directory");
        }
    }
}

/// The paths below one of a repository's directories.
fn names(repository: &Path, part: &str) -> Vec<PathBuf> {
    let part = repository.join(part);
    let names = common::everything(&part);
    let relative = |path: PathBuf| path.strip_prefix(&part).expect("below it").to_owned();
    names.into_iter().map(relative).collect()
}

/// Both tools pull the same image, and then each goes on with what the other has.
#[test]
#[ignore = "compares with composefs-rs, which COMPOSEFS_RS_TOOLS must say where it is"]
fn either_tool_goes_on_with_repositories_of_composefs_rs() {
    for kind in KINDS {
        let dir = tempfile::tempdir().expect("directory");
        let layout = Layout::new(&dir.path().join("image"));
        layout.image(&odd_layers());
        let from = layout.name();
        let [ours, theirs] = repositories(dir.path(), kind);
        ok(&ours, &["pull", &from, "odd"]);
        cfsctl(&theirs, &["oci", "pull", &from, "odd"]);

        let digest = ok(&ours, &["digest", "odd"]);
        for repository in [&ours, &theirs] {
            assert_eq!(ok(repository, &["digest", "odd"]), digest);
            assert_eq!(ok(repository, &["digest", "--compute", "odd"]), digest);
            assert_eq!(cfsctl(repository, &["oci", "compute-id", "odd"]), digest);
            ok(repository, &["fsck", "--contents"]);
            cfsctl(repository, &["oci", "fsck"]);
            // It has what each rewriting left; after that the other finds nothing more.
            ok(repository, &["gc"]);
            let collected = cfsctl(repository, &["gc"]);
            assert!(collected.contains("Objects: 0 removed"), "{collected}");
            cfsctl(repository, &["oci", "pull", &from, "again"]);
            ok(repository, &["pull", &from, "and-again"]);
            let listed = cfsctl(repository, &["oci", "images", "--json"]);
            for name in ["odd", "again", "and-again"] {
                assert!(listed.contains(&format!("\"{name}\"")), "{listed}");
                assert_eq!(ok(repository, &["digest", name]), digest);
            }
            cfsctl(repository, &["oci", "fsck"]);
            cfsctl(repository, &["oci", "untag", "odd"]);
            fails(repository, &["digest", "odd"]);
            ok(repository, &["rm", "again"]);
            cfsctl(repository, &["gc"]);
            ok(repository, &["fsck", "--contents"]);
            assert!(ok(repository, &["gc"]).starts_with("0 objects"));
        }
        // Nothing but garbage of rewritten streams differs.
        assert_eq!(
            common::everything(&ours.join("objects")).len(),
            common::everything(&theirs.join("objects")).len()
        );
    }
}

/// Blobs of any kind, and archives, under the configuration of what needs none: the streams are the same.
#[test]
#[ignore = "compares with composefs-rs, which COMPOSEFS_RS_TOOLS must say where it is"]
fn artifacts_are_those_of_composefs_rs() {
    for algorithm in ["sha256", "sha512"] {
        let dir = tempfile::tempdir().expect("directory");
        let layout = Layout::new(&dir.path().join("image"));
        let layers = odd_layers();
        let (archive, other) = (&layers[2].0, &layers[1].0);
        let compressed = zstd::encode_all(archive.as_slice(), 3).expect("zstd");
        let large = [7; 100_000];
        let plain = "application/vnd.oci.image.layer.v1.tar";
        let zstd = format!("{plain}+zstd");
        let config: (&[u8], &str) = (b"{}", "application/vnd.oci.empty.v1+json");
        layout.artifact(
            config,
            &[
                (b"short", "text/plain"),
                (&large, "application/wasm"),
                (&compressed, &zstd),
                (archive, plain),
                (other, "application/vnd.docker.image.rootfs.diff.tar"),
            ],
        );
        let from = layout.name();
        let (ours, theirs) = (dir.path().join("ours"), dir.path().join("theirs"));
        ok(&ours, &["init", "--insecure", "--algorithm", algorithm]);
        ok(&ours, &["pull", &from, "thing"]);
        let long = format!("fsverity-{algorithm}-12");
        cfsctl(&theirs, &["init", "--insecure", "--algorithm", &long]);
        cfsctl(&theirs, &["oci", "pull", &from, "thing"]);
        let relative = |repository: &Path| {
            let all = common::state(repository).into_iter();
            let all = all.map(|(path, what)| {
                let path = path.strip_prefix(repository).expect("path").to_owned();
                (path, what)
            });
            all.filter(|(path, _)| !path.starts_with("origins"))
                .collect::<std::collections::BTreeMap<_, _>>()
        };
        let (left, right) = (relative(&ours), relative(&theirs));
        assert_eq!(
            left.keys().collect::<Vec<_>>(),
            right.keys().collect::<Vec<_>>()
        );
        assert!(left == right);
        for repository in [&ours, &theirs] {
            ok(repository, &["fsck", "--contents"]);
            cfsctl(repository, &["oci", "fsck"]);
            assert!(ok(repository, &["gc"]).starts_with("0 objects"));
            assert!(cfsctl(repository, &["gc"]).contains("Objects: 0 removed"));
            cfsctl(repository, &["oci", "pull", &from, "again"]);
            ok(repository, &["pull", &from, "and-again"]);
            let listed = cfsctl(repository, &["oci", "images", "--json"]);
            assert!(listed.contains("\"is_container\": false"), "{listed}");
            assert_eq!(ok(repository, &["images"]).matches(" artifact ").count(), 3);
        }
    }
}

/// Each object of what composefs-rs made is damaged or goes, and each name goes: it is good for both
/// afterwards, also when what is not needed was collected. A note of where images came from is
/// nothing to composefs-rs.
#[test]
#[ignore = "compares with composefs-rs, which COMPOSEFS_RS_TOOLS must say where it is"]
fn repositories_of_composefs_rs_are_repaired() {
    let dir = common::quick_directory();
    let layout = Layout::new(&dir.path().join("image"));
    layout.image(&odd_layers());
    let from = layout.name();
    let repository = dir.path().join("theirs");
    cfsctl(&repository, &["init", "--insecure"]);
    cfsctl(&repository, &["oci", "pull", &from, "image"]);
    cfsctl(&repository, &["gc"]);
    let digest = ok(&repository, &["digest", "image"]);
    let things = everything(&repository);
    let is_one = |path: &&std::path::PathBuf| {
        !path.ends_with("meta.json") && !path.ends_with("streams/refs/oci/image")
    };
    for path in things.iter().filter(is_one) {
        // A stream that is made again need not be the same file.
        if fs::symlink_metadata(path).is_err() {
            continue;
        }
        let what = path.display();
        for is_damaged in [false, true] {
            match is_damaged && path.is_file() && !path.is_symlink() {
                true => damage(path),
                false if fs::symlink_metadata(path).is_ok() => {
                    fs::remove_file(path).expect("removed");
                }
                false => continue,
            }
            let said = ok(
                &repository,
                &["fsck", "--repair", "--contents", "--from", &from],
            );
            assert!(said.contains(": repaired\n"), "{what}: {said}");
            ok(&repository, &["fsck", "--contents"]);
            cfsctl(&repository, &["oci", "fsck"]);
            ok(&repository, &["gc"]);
            let collected = cfsctl(&repository, &["gc"]);
            assert!(collected.contains("Objects: 0 removed"), "{collected}");
            cfsctl(&repository, &["oci", "fsck"]);
            assert_eq!(ok(&repository, &["digest", "--compute", "image"]), digest);
            assert_eq!(cfsctl(&repository, &["oci", "compute-id", "image"]), digest);
        }
    }
    ok(&repository, &["pull", &from, "image"]);
    let note = everything(&repository.join("origins"));
    assert_eq!(note.len(), 1);
    cfsctl(&repository, &["gc"]);
    cfsctl(&repository, &["oci", "fsck"]);
    cfsctl(&repository, &["fsck"]);
    assert_eq!(everything(&repository.join("origins")), note);
    cfsctl(&repository, &["oci", "untag", "image"]);
    cfsctl(&repository, &["gc"]);
    ok(&repository, &["fsck", "--contents"]);
    ok(&repository, &["gc"]);
    assert_eq!(everything(&repository), [repository.join("meta.json")]);
}

/// What composefs-rs made to start from is referred to after a repair as before it; it cannot be made
/// here.
#[test]
#[ignore = "compares with composefs-rs, which COMPOSEFS_RS_TOOLS must say where it is"]
fn images_to_start_from_are_kept() {
    let dir = common::quick_directory();
    let layout = Layout::new(&dir.path().join("image"));
    let mut layers = odd_layers();
    let more = common::Layer::new()
        .dir("boot")
        .dir("sysroot")
        .file("boot/a", b"b");
    layers.push((more.bytes(), common::By::Gzip));
    layout.image(&layers);
    let from = layout.name();
    let repository = dir.path().join("theirs");
    cfsctl(&repository, &["init", "--insecure"]);
    cfsctl(&repository, &["oci", "pull", "--bootable", &from, "image"]);
    cfsctl(&repository, &["gc"]);
    let inspected = || -> serde_json::Value {
        let text = cfsctl(&repository, &["oci", "inspect", "image"]);
        serde_json::from_str(&text).expect("JSON")
    };
    let before = inspected();
    let boot = before["composefs_boot_erofs"].as_str().expect("image");
    let plain = before["composefs_erofs"].as_str().expect("image");
    assert_ne!(boot, plain);
    let object = |digest: &str| {
        repository
            .join("objects")
            .join(&digest[..2])
            .join(&digest[2..])
    };
    let repair = ["fsck", "--repair", "--contents", "--from", &from];

    for path in everything(&repository.join("streams")) {
        let name = path
            .file_name()
            .expect("name")
            .to_string_lossy()
            .into_owned();
        if name.starts_with("oci-layer-") {
            damage(&path.canonicalize().expect("stream"));
        }
    }
    damage(&object(plain));
    ok(&repository, &repair);
    assert_eq!(inspected(), before);

    let kept = fs::read(object(boot)).expect("image");
    damage(&object(boot));
    damage(&object(plain));
    let output = common::composefs(&repository, &repair);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        said.matches(": cannot be repaired: composefs.image.boot")
            .count(),
        2,
        "{said}"
    );
    assert!(
        said.contains(": was made by composefs-rs, to start from"),
        "{said}"
    );
    assert_eq!(said.matches(": repaired\n").count(), 2, "{said}");
    fs::write(object(boot), kept).expect("image");
    ok(&repository, &["fsck", "--contents"]);
    cfsctl(&repository, &["oci", "fsck"]);
    assert_eq!(inspected(), before);
}

/// Entries that want each other's place have the same one for both.
#[test]
#[ignore = "compares with composefs-rs, which COMPOSEFS_RS_TOOLS must say where it is"]
fn clashes_end_as_in_composefs_rs() {
    let dir = tempfile::tempdir().expect("directory");
    let layout = Layout::new(&dir.path().join("image"));
    layout.image(&clashes());
    let from = layout.name();
    let repository = common::repository(dir.path());
    ok(&repository, &["pull", &from, "clashes"]);
    let digest = cfsctl(&repository, &["oci", "compute-id", "clashes"]);
    assert_eq!(ok(&repository, &["digest", "clashes"]), digest);
}
