// SPDX-License-Identifier: GPL-2.0-only
//! Images from directories and archives, and what becomes of them.

mod common;

use std::fs;

use common::{composefs, everything, fails, odd_layers, ok, repository, sha256, By, Layer, Layout};

/// The one of composefs-rs' tests, whose digests stand in there.
#[test]
fn the_digest_is_the_known_one() {
    let dir = tempfile::tempdir().expect("directory");
    let layout = Layout::new(&dir.path().join("image"));
    let layer = Layer::new()
        .dir("usr/")
        .file("hello.txt", b"hello from test layer\n")
        .hard_link("hello-link.txt", "hello.txt");
    layout.image(&[(layer.bytes(), By::Gzip)]);
    for (version, digest) in [
        (
            "1",
            "d06f1f6a73f62ed48e05ce9442ff045cdf2a9f5ba1ec623795de3d6177a253d9\
             1076459795d94f55d8c3d71dab458bb3fc0071255a50c0a4896d86ffdc870b9a",
        ),
        (
            "2",
            "f7684c21050615c02cec250e0c7d4118fb0ff6340af5039e06f2f372a7614fff\
             25dfd38cf7f28ad67d8b86e86371b7deafa9ae4bf543630322aee6196417de92",
        ),
    ] {
        let repository = dir.path().join(version);
        let arguments = ["init", "--insecure", "--algorithm", "sha512"];
        let arguments = [&arguments[..], &["--erofs-version", version]].concat();
        ok(&repository, &arguments);
        ok(&repository, &["pull", &layout.name(), "hello"]);
        assert_eq!(ok(&repository, &["digest", "hello"]).trim(), digest);
    }
}

/// A repository that has both versions of each image goes on having both.
#[test]
fn both_versions_of_an_image() {
    let dir = tempfile::tempdir().expect("directory");
    let layout = Layout::new(&dir.path().join("image"));
    layout.image(&odd_layers());
    let from = layout.name();
    let digests = ["1", "2", "1,2", "2,1"].map(|versions| {
        let repository = dir.path().join(versions);
        let init = ["init", "--insecure", "--erofs-version", versions];
        ok(&repository, &init);
        ok(&repository, &["pull", &from, "odd"]);
        let count = versions.split(',').count();
        let left = || everything(&repository.join("images")).len();
        ok(&repository, &["gc"]);
        assert_eq!(left(), count, "{versions}");
        ok(&repository, &["fsck", "--contents"]);
        let digest = ok(&repository, &["digest", "odd"]);
        assert_eq!(ok(&repository, &["digest", "--compute", "odd"]), digest);
        // It is what it was made to be.
        ok(&repository, &init);
        let error = fails(
            &repository,
            &["init", "--insecure", "--algorithm", "sha512"],
        );
        assert!(error.contains("of another kind"), "{error}");
        ok(&repository, &["rm", "odd"]);
        ok(&repository, &["gc"]);
        assert_eq!(left(), 0, "{versions}");
        digest
    });
    assert_ne!(digests[0], digests[1]);
    assert_eq!(digests[0], digests[2]);
    assert_eq!(digests[1], digests[3]);
}

#[test]
fn layers_are_put_on_top_of_each_other() {
    let dir = tempfile::tempdir().expect("directory");
    let layout = Layout::new(&dir.path().join("image"));
    let made = layout.image(&odd_layers());
    let repository = repository(dir.path());
    let from = format!("oci:{}:t", layout.path.display());
    assert_eq!(
        ok(&repository, &["pull", &from, "odd"]).trim(),
        made.manifest
    );
    let listed = ok(&repository, &["ls", "odd"]);
    let names: Vec<_> = listed
        .lines()
        .map(|line| line.split('\t').next().unwrap_or_default())
        .collect();
    let long = format!("/usr/{}", "n".repeat(200));
    assert_eq!(
        names,
        [
            "/00/",
            "/aa",
            "/opaque/",
            "/opaque/new",
            "/run/",
            "/usr/",
            "/usr/bin/",
            "/usr/bin/65",
            "/usr/bin/again",
            "/usr/bin/empty",
            "/usr/bin/large",
            "/usr/bin/link",
            "/usr/bin/sym/",
            "/usr/bin/sym/inside",
            "/usr/fifo",
            &long,
        ]
    );
    assert!(listed.contains("/usr/bin/empty\t-> x\n"), "{listed}");
    assert_eq!(
        ok(&repository, &["digest", "odd"]),
        ok(&repository, &["digest", "--compute", "odd"])
    );
    ok(&repository, &["fsck", "--contents"]);
    let karg = ok(&repository, &["karg", "odd"]);
    assert_eq!(
        karg,
        format!(
            "composefs.digest=?v1-sha256-12:{}",
            ok(&repository, &["digest", "odd"])
        )
    );
    let inspected: serde_json::Value =
        serde_json::from_str(&ok(&repository, &["inspect", "odd"])).expect("JSON");
    assert_eq!(inspected["manifest_digest"], made.manifest.as_str());
    assert_eq!(
        inspected["composefs"],
        ok(&repository, &["digest", "odd"]).trim()
    );
    assert_eq!(inspected["origin"], from.as_str());
    let manifest = ok(&repository, &["inspect", "--manifest", "odd"]);
    assert_eq!(
        format!("sha256:{}", sha256(manifest.trim_end().as_bytes())),
        made.manifest
    );
}

#[test]
fn archives_are_read_as_directories() {
    let dir = tempfile::tempdir().expect("directory");
    let layout = Layout::new(&dir.path().join("image"));
    layout.image(&odd_layers());
    let archive = dir.path().join("image.tar");
    let mut builder = tar::Builder::new(fs::File::create(&archive).expect("archive"));
    builder.append_dir_all(".", &layout.path).expect("archive");
    builder.finish().expect("archive");
    let repository = repository(dir.path());
    ok(
        &repository,
        &[
            "pull",
            &format!("oci-archive:{}", archive.display()),
            "from-archive",
        ],
    );
    ok(&repository, &["pull", &layout.name(), "from-directory"]);
    assert_eq!(
        ok(&repository, &["digest", "from-archive"]),
        ok(&repository, &["digest", "from-directory"])
    );

    fs::write(&archive, [7; 2000]).expect("archive");
    let error = fails(
        &repository,
        &["pull", &format!("oci-archive:{}", archive.display())],
    );
    assert!(
        error.contains("is not a tar archive that is not compressed"),
        "{error}"
    );
}

#[test]
fn names_come_and_go() {
    let dir = tempfile::tempdir().expect("directory");
    let layout = Layout::new(&dir.path().join("image"));
    let made = layout.image(&odd_layers());
    let repository = repository(dir.path());
    let from = layout.name();
    ok(&repository, &["pull", &from]);
    ok(&repository, &["tag", &from, "other/name:1"]);
    ok(
        &repository,
        &["tag", &format!("@{}", made.manifest), "third"],
    );
    let images: serde_json::Value =
        serde_json::from_str(&ok(&repository, &["images", "--json"])).expect("JSON");
    let mut names: Vec<_> = images
        .as_array()
        .expect("list")
        .iter()
        .map(|image| image["name"].clone())
        .collect();
    names.sort_by_key(ToString::to_string);
    assert_eq!(names, [from.as_str(), "other/name:1", "third"]);
    assert!(
        images[0]["manifest_digest"] == made.manifest.as_str() && images[0]["layer_count"] == 3
    );

    ok(&repository, &["untag", &from]);
    let error = fails(&repository, &["untag", &from]);
    assert!(error.ends_with("there is none of this name"), "{error}");
    ok(&repository, &["gc"]);
    ok(&repository, &["digest", "third"]);
    ok(&repository, &["rm", "third"]);
    let error = fails(&repository, &["digest", "other/name:1"]);
    assert!(error.ends_with("there is none of this name"), "{error}");
    let would = ok(&repository, &["gc", "--dry-run"]);
    assert!(
        would.contains("would be removed") && !would.starts_with("0 "),
        "{would}"
    );
    let collected: serde_json::Value =
        serde_json::from_str(&ok(&repository, &["gc", "--json"])).expect("JSON");
    assert!(
        collected["streams_pruned"] == 5 && collected["images_pruned"] == 1,
        "{collected}"
    );
    let left = everything(&repository);
    assert_eq!(left, [repository.join("meta.json")]);
    ok(&repository, &["fsck", "--contents"]);
}

#[test]
fn layers_that_are_here_are_not_fetched() {
    let dir = tempfile::tempdir().expect("directory");
    let layout = Layout::new(&dir.path().join("image"));
    let layers = odd_layers();
    let made = layout.image(&layers);
    let repository = repository(dir.path());
    let from = layout.name();
    ok(&repository, &["pull", &from, "first"]);
    for layer in &made.layers {
        fs::remove_file(layout.blob_path(layer)).expect("removed");
    }
    ok(&repository, &["pull", &from, "second"]);
    ok(&repository, &["rm", "first"]);
    ok(&repository, &["gc"]);
    let error = fails(&repository, &["pull", &from, "third"]);
    assert!(error.contains("No such file or directory"), "{error}");
}

#[test]
fn images_for_other_machines() {
    let dir = tempfile::tempdir().expect("directory");
    let layout = Layout::new(&dir.path().join("image"));
    let made = layout.image(&odd_layers());
    let manifest = fs::read(layout.blob_path(&made.manifest)).expect("manifest");
    let kind = "application/vnd.oci.image.manifest.v1+json";
    let mut other = layout.blob(&manifest, kind);
    other["platform"] = serde_json::json!({"architecture": "wasm", "os": "linux"});
    let index = serde_json::json!({"schemaVersion": 2, "manifests": [other]});
    fs::write(layout.path.join("index.json"), index.to_string()).expect("index");
    let repository = repository(dir.path());
    let from = layout.name();
    let error = fails(&repository, &["pull", &from]);
    assert!(error.contains("only for 'linux/wasm'"), "{error}");
    ok(
        &repository,
        &["pull", "--platform", "linux/wasm", &from, "other"],
    );
    fails(&repository, &["pull", "--platform", "linux", &from]);
}

#[test]
fn a_pull_makes_the_repository() {
    let dir = tempfile::tempdir().expect("directory");
    let layout = Layout::new(&dir.path().join("image"));
    layout.image(&odd_layers());
    let path = dir.path().join("above/repository");
    let output = composefs(&path, &["pull", &layout.name(), "a"]);
    assert!(output.status.success());
    // At most that it does without fs-verity.
    assert!(String::from_utf8_lossy(&output.stderr).lines().count() <= 1);
    ok(&path, &["fsck"]);
    let error = fails(&dir.path().join("nowhere"), &["images"]);
    assert!(error.contains("No such file or directory"), "{error}");
}

/// A skopeo that says what it was called with, and does what the real one does: no storage of podman's
/// is there for a test without root.
#[test]
fn podmans_storage_is_read_by_skopeo() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().expect("directory");
    let layout = Layout::new(&dir.path().join("image"));
    let made = layout.image(&odd_layers());
    let repository = repository(dir.path());
    let program = dir.path().join("skopeo");
    let script = format!(
        "#!/bin/sh\n[ \"$4\" = containers-storage:name ] || {{ echo 'no such image' >&2; exit 1; }}\n\
         cp -r '{}'/* \"${{5#oci:}}\"\n",
        layout.path.display()
    );
    fs::write(&program, script).expect("program");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("program");
    let run = |name: &str| {
        std::process::Command::new(env!("CARGO_BIN_EXE_composefs"))
            .args(["--repo".as_ref(), repository.as_os_str()])
            .args(["pull", name])
            .env("PATH", format!("{}:/usr/bin:/bin", dir.path().display()))
            .output()
            .expect("composefs runs")
    };
    let output = run("containers-storage:name");
    assert_eq!(
        String::from_utf8_lossy(&output.stdout).trim(),
        made.manifest
    );
    let output = run("containers-storage:other");
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        !output.status.success() && error.ends_with("skopeo: no such image\n"),
        "{error}"
    );
}

/// As GNU tar stores them, in each form that it has.
#[test]
fn files_with_holes_are_whole() {
    let dir = tempfile::tempdir().expect("directory");
    let source = dir.path().join("source");
    fs::create_dir_all(source.join("usr")).expect("directory");
    let file = fs::File::create(source.join("usr/holes")).expect("file");
    file.set_len(3_000_000).expect("file");
    std::os::unix::fs::FileExt::write_all_at(&file, b"abc", 1_000_000).expect("file");
    let content = fs::read(source.join("usr/holes")).expect("file");
    let repository = repository(dir.path());
    let forms = [
        ("gnu", "--format=gnu"),
        ("0.0", "--sparse-version=0.0"),
        ("0.1", "--sparse-version=0.1"),
        ("1.0", "--sparse-version=1.0"),
    ];
    for (name, form) in forms {
        let output = std::process::Command::new("tar")
            .args(["--sparse", "--format=pax", form, "-cf", "-", "-C"])
            .arg(&source)
            .arg("usr")
            .output()
            .expect("tar runs");
        assert!(
            output.status.success() && output.stdout.len() < 100_000,
            "{name}"
        );
        let layout = Layout::new(&dir.path().join(name));
        layout.image(&[(output.stdout, By::Gzip)]);
        ok(&repository, &["pull", &layout.name(), name]);
        let listed = ok(&repository, &["ls", name]);
        let object = listed
            .lines()
            .find_map(|line| line.strip_prefix("/usr/holes\t@ "))
            .expect("object");
        assert!(
            fs::read(repository.join("objects").join(object)).expect("object") == content,
            "{name}"
        );
    }
    ok(&repository, &["fsck", "--contents"]);
}
