// SPDX-License-Identifier: GPL-2.0-only
//! Pulls onto a file system that is full sooner or later: of bytes, of inodes, where the repository is
//! and where temporary files are.
//!
//! It is one in memory, which takes a mount namespace of its own: the test runs itself in one.

mod common;

use std::ffi::CString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use common::namespace::inside;
use common::{everything, odd_layers, ok, By, Layer, Layout};
use rustix::mount::{mount, mount_remount, unmount, MountFlags, UnmountFlags};

/// So many times as it fills up, the file system is full.
const STEPS: u64 = 10;
const LARGE: &str = "size=1g";

/// A file system in memory, as large as its options say.
struct Memory(PathBuf);

impl Memory {
    fn new(dir: &Path, options: &str) -> Self {
        fs::create_dir_all(dir).expect("directory");
        let data = CString::new(options).expect("options");
        mount("tmpfs", dir, "tmpfs", MountFlags::empty(), &*data).expect(options);
        Self(dir.to_owned())
    }

    fn resize(&self, options: &str) {
        mount_remount(&self.0, MountFlags::empty(), options).expect(options);
    }

    /// The bytes and the inodes that are used.
    fn used(&self) -> [u64; 2] {
        let stat = rustix::fs::statvfs(&self.0).expect("statvfs");
        [
            (stat.f_blocks - stat.f_bfree) * stat.f_frsize,
            stat.f_files - stat.f_ffree,
        ]
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        let _ = unmount(&self.0, UnmountFlags::DETACH);
    }
}

/// Bytes that cannot be compressed.
fn noise(mut seed: u32, size: usize) -> impl Iterator<Item = u8> {
    let next = move || {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (seed >> 24) as u8
    };
    std::iter::repeat_with(next).take(size)
}

/// Layers with small files and large, more than can be open at a time.
fn layers() -> Vec<(Vec<u8>, By)> {
    let mut layers = odd_layers();
    for layer in 0..3_u32 {
        let content = |file, size| noise(1000 * layer + file, size).collect::<Vec<_>>();
        let mut made = Layer::new().dir("usr");
        made = made.file(&format!("usr/large-{layer}"), &content(0, 1_200_000));
        for file in 1..60 {
            made = made.file(&format!("usr/{layer}-{file}"), &content(file, 3000));
        }
        layers.push((made.bytes(), By::Zstd));
    }
    layers
}

/// Pulls with few open files, so that some objects wait under temporary names.
fn pull(repository: &Path, from: &str, temporaries: &Path) -> Output {
    Command::new("sh")
        .args(["-c", "ulimit -n 128 && exec \"$@\"", "sh"])
        .arg(env!("CARGO_BIN_EXE_composefs"))
        .arg("--repo")
        .arg(repository)
        .args(["pull", from, "image"])
        .env("TMPDIR", temporaries)
        .output()
        .expect("composefs runs")
}

/// One line that says where there was no space.
fn expect_full(output: &Output, place: &Path) {
    let error = String::from_utf8(output.stderr.clone()).expect("text");
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(output.stdout.is_empty(), "{error}");
    assert_eq!(error.lines().count(), 1, "{error}");
    assert!(
        error.contains(&*place.to_string_lossy()),
        "no path: {error}"
    );
    assert!(
        error.ends_with("No space left on device (os error 28)\n"),
        "{error}"
    );
}

/// Nothing but `meta.json`, objects, which `fsck` reads, what leads to them, and where they are from.
fn expect_whole(repository: &Path) {
    ok(repository, &["fsck", "--contents"]);
    for path in everything(repository) {
        let path = path.strip_prefix(repository).expect("inside");
        let text = path.to_string_lossy();
        let is_object = || {
            let hex = text.strip_prefix("objects/")?.replace('/', "");
            Some(hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_hexdigit()))
        };
        let is_beside = ["streams/", "images/", "origins/"]
            .iter()
            .any(|dir| text.starts_with(dir));
        let is_right = text == "meta.json" || is_object() == Some(true) || is_beside;
        assert!(is_right, "{text} is left");
    }
}

/// Fills `place`, where `repository` is or not, at each step of a pull.
fn fill(dir: &Path, limit: &str, which: usize) {
    let layout = Layout::new(&dir.join("image"));
    layout.image(&layers());
    let from = layout.name();
    let place = dir.join("full");
    let repository = place.join("repository");
    let temporaries = dir.join("temporaries");
    fs::create_dir(&temporaries).expect("directory");
    let init = || ok(&repository, &["init", "--insecure"]);

    let memory = Memory::new(&place, LARGE);
    init();
    let least = memory.used()[which];
    assert!(pull(&repository, &from, &temporaries).status.success());
    let step = (memory.used()[which] - least).div_ceil(STEPS);
    let whole = everything(&repository);
    drop(memory);

    let mut failures = 0;
    loop {
        let size = least + failures * step;
        let memory = Memory::new(&place, &format!("{limit}={size}"));
        init();
        let output = pull(&repository, &from, &temporaries);
        expect_whole(&repository);
        let is_done = output.status.success();
        if !is_done {
            expect_full(&output, &place);
            let images = ok(&repository, &["images"]);
            assert_eq!(images.lines().count(), 1, "{images}");
            memory.resize(LARGE);
            memory.resize("nr_inodes=1m");
            assert!(pull(&repository, &from, &temporaries).status.success());
        }
        assert_eq!(everything(&repository), whole);
        if is_done {
            break;
        }
        failures += 1;
    }
    assert!(failures >= STEPS, "it failed only {failures} times");
}

#[test]
fn no_bytes_are_left() {
    inside("no_bytes_are_left", || {
        let dir = tempfile::tempdir().expect("directory");
        fill(dir.path(), "size", 0);
    });
}

#[test]
fn no_inodes_are_left() {
    inside("no_inodes_are_left", || {
        let dir = tempfile::tempdir().expect("directory");
        fill(dir.path(), "nr_inodes", 1);
    });
}

/// What does not stay in memory: much that is neither a file nor tiny, and a file with holes.
#[test]
fn no_space_is_left_for_temporary_files() {
    inside("no_space_is_left_for_temporary_files", || {
        let dir = tempfile::tempdir().expect("directory");
        let repository = common::repository(dir.path());
        let temporaries = dir.path().join("full");
        let header = tar::EntryType::XHeader;
        let mut comments = Layer::new();
        for file in 0..12 {
            let name = format!("f{file}");
            let mut comment = b"1024021 comment=".to_vec();
            comment.extend(noise(file, 1_024_004).map(|byte| b'a' + byte % 16));
            comment.push(b'\n');
            comments = comments
                .entry("x", header, 0o644, "", &comment)
                .file(&name, b"");
        }
        let layers = [comments.bytes(), common::sparse("holes", 2 << 20)];
        for layer in layers {
            let layout = Layout::new(&dir.path().join(layer.len().to_string()));
            layout.image(&[(layer, By::Nothing)]);
            let from = layout.name();
            let memory = Memory::new(&temporaries, "size=64k");
            let output = pull(&repository, &from, &temporaries);
            expect_full(&output, &temporaries);
            assert_eq!(everything(&repository), [repository.join("meta.json")]);
            memory.resize(LARGE);
            assert!(pull(&repository, &from, &temporaries).status.success());
            ok(&repository, &["fsck", "--contents"]);
            ok(&repository, &["rm", "image"]);
            ok(&repository, &["gc"]);
        }
    });
}
