// SPDX-License-Identifier: GPL-2.0-only
//! What several tests have in common: images, registries, and the command that is tested.
#![allow(dead_code, unused_imports, reason = "not every test uses all of it")]

pub mod built;
pub mod honest;
pub mod hub;
pub mod image;
pub mod kill;
pub mod namespace;
pub mod peak;
pub mod peers;
pub mod pki;
pub mod server;
pub mod signed;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

pub use image::{odd_layers, set_sum, sha256, sparse, By, Layer, Layout, Made};

/// Runs the command on a repository.
pub fn composefs(repository: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_composefs"))
        .arg("--repo")
        .arg(repository)
        .args(arguments)
        .env("CONTAINERS_REGISTRIES_CONF", "/dev/null")
        .output()
        .expect("composefs runs")
}

/// What it prints, if it succeeds.
pub fn ok(repository: &Path, arguments: &[&str]) -> String {
    let output = composefs(repository, arguments);
    let error = String::from_utf8_lossy(&output.stderr);
    let text = String::from_utf8(output.stdout).expect("text");
    assert!(output.status.success(), "{arguments:?}: {error}{text}");
    text
}

/// What it says of why it fails: one line, exit status 1, nothing printed.
pub fn fails(repository: &Path, arguments: &[&str]) -> String {
    let output = composefs(repository, arguments);
    let error = String::from_utf8(output.stderr).expect("text");
    assert_eq!(output.status.code(), Some(1), "{arguments:?}: {error}");
    assert_eq!(error.lines().count(), 1, "{arguments:?}: {error}");
    assert!(error.starts_with("composefs: "), "{error}");
    error.trim_end().to_owned()
}

/// A directory in memory, if there is such: what is made and removed hundreds of times would wait for the
/// disk each time.
pub fn quick_directory() -> tempfile::TempDir {
    let memory = tempfile::tempdir_in("/dev/shm");
    memory.or_else(|_| tempfile::tempdir()).expect("directory")
}

/// A repository that does without fs-verity, which the test's file system need not have.
pub fn repository(dir: &Path) -> PathBuf {
    let path = dir.join("repository");
    ok(&path, &["init", "--insecure"]);
    path
}

/// What is in `dir` besides the repository, by path, with sizes and times: it is nobody's business.
pub fn outside(dir: &Path, repository: &Path) -> Vec<(PathBuf, u64, std::time::SystemTime)> {
    let all = everything(dir).into_iter();
    let all = all.filter(|path| !path.starts_with(repository));
    all.map(|path| {
        let stat = fs::symlink_metadata(&path).expect("file");
        (path, stat.len(), stat.modified().expect("time"))
    })
    .collect()
}

/// An image that was made, and pulled into a repository as `image`.
pub struct Pulled {
    pub dir: tempfile::TempDir,
    pub layout: Layout,
    pub made: Made,
    /// What it was pulled from.
    pub from: String,
    pub repository: PathBuf,
}

/// Makes an image of layers, and pulls it.
pub fn pulled(layers: &[(Vec<u8>, By)]) -> Pulled {
    let dir = quick_directory();
    let layout = Layout::new(&dir.path().join("image"));
    let made = layout.image(layers);
    let repository = repository(dir.path());
    let from = layout.name();
    ok(&repository, &["pull", &from, "image"]);
    Pulled {
        dir,
        layout,
        made,
        from,
        repository,
    }
}

/// All that is in a directory, by path.
pub fn everything(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut left = vec![dir.to_owned()];
    while let Some(dir) = left.pop() {
        for entry in fs::read_dir(dir).expect("directory") {
            let path = entry.expect("entry").path();
            if path.is_dir() && !path.is_symlink() {
                left.push(path);
            } else {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// All of a repository: its files, and where its links lead.
pub fn state(repository: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    everything(repository)
        .into_iter()
        .map(|path| {
            let what = match fs::read_link(&path) {
                Ok(target) => target.into_os_string().into_encoded_bytes(),
                Err(_) => fs::read(&path).expect("file"),
            };
            (path, what)
        })
        .collect()
}

/// Replaces a file; the file system of the test may have fs-verity, with which nothing can be written to it.
pub fn damage(path: &Path) {
    let mut content = fs::read(path).expect("object");
    match content.first_mut() {
        Some(byte) => *byte = byte.wrapping_add(1),
        None => content.push(1),
    }
    fs::remove_file(path).expect("removed");
    fs::write(path, content).expect("written");
}
