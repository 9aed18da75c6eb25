// SPDX-License-Identifier: GPL-2.0-only
//! Directories of the repository that somebody puts symbolic links in place of, and back, all the time:
//! what they lead to is left alone.

mod common;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::SystemTime;

use common::{composefs, odd_layers, ok, quick_directory, repository, By, Layer, Layout};
use rustix::fs::{renameat_with, RenameFlags, CWD};

/// How often all is done, for each directory.
const ROUNDS: usize = 4;

/// All that is in a directory, with sizes and times of change.
fn state(dir: &Path) -> Vec<(PathBuf, u64, SystemTime)> {
    let mut found = Vec::new();
    let mut left = vec![dir.to_owned()];
    while let Some(path) = left.pop() {
        let stat = fs::symlink_metadata(&path).expect("file");
        if stat.is_dir() {
            let entries = fs::read_dir(&path).expect("directory");
            left.extend(entries.map(|entry| entry.expect("entry").path()));
        }
        let changed = rustix::fs::lstat(&path).expect("file");
        let since = std::time::Duration::new(changed.st_ctime as u64, changed.st_ctime_nsec as u32);
        found.push((path, stat.len(), SystemTime::UNIX_EPOCH + since));
    }
    found.sort();
    found
}

/// Exchanges a directory and a link to another until it is told to end, and leaves the directory there.
fn swap(dir: &Path, link: &Path, is_over: &AtomicBool) {
    let exchange = || renameat_with(CWD, dir, CWD, link, RenameFlags::EXCHANGE).expect("exchanged");
    while !is_over.load(Ordering::Relaxed) {
        exchange();
        exchange();
    }
}

fn try_all(layout: &Path, repository: &Path, outside: &Path, dir: &str) {
    let link = repository.with_file_name("link");
    symlink(outside.join(dir), &link).expect("link");
    let before = state(outside);
    let is_over = AtomicBool::new(false);
    let from = format!("oci:{}", layout.display());
    thread::scope(|scope| {
        scope.spawn(|| swap(&repository.join(dir), &link, &is_over));
        for _ in 0..ROUNDS {
            // Whatever comes of them.
            for arguments in [
                &["pull", &from, "image"][..],
                &["tag", "image", "other"],
                &["tag", "image", "another"],
                &["fsck", "--contents"],
                &["rm", "image"],
                &["gc"],
            ] {
                composefs(repository, arguments);
            }
        }
        is_over.store(true, Ordering::Relaxed);
    });
    assert!(state(outside) == before, "{dir}: outside has changed");
    fs::remove_file(&link).expect("link");
}

/// One place has all that the repository has, the other just the directories.
#[test]
fn links_are_not_followed() {
    let dir = quick_directory();
    let layout = Layout::new(&dir.path().join("image"));
    let mut layers = odd_layers();
    let mut many = Layer::new();
    for number in 0..1000_u32 {
        many = many.file(&format!("usr/{number}"), &number.to_le_bytes().repeat(20));
    }
    // To remove them takes a while.
    layers.push((many.bytes(), By::Zstd));
    layout.image(&layers);
    let whole = repository(dir.path());
    let from = layout.name();
    ok(&whole, &["pull", &from, "image"]);
    ok(&whole, &["tag", "image", "other"]);
    let [full, empty] = ["full", "empty"].map(|name| dir.path().join(name));
    let copied = Command::new("cp").arg("-a").args([&whole, &full]).status();
    assert!(copied.expect("cp runs").success());
    let mut dirs = Vec::new();
    for (path, ..) in state(&full) {
        let path = path.strip_prefix(&full).expect("inside");
        if full.join(path).symlink_metadata().expect("file").is_dir() {
            fs::create_dir_all(empty.join(path)).expect("directory");
            dirs.push(path.to_str().expect("text").to_owned());
        }
    }
    let hashed = |dir: &&String| dir.starts_with("objects/");
    let few = dirs.iter().filter(hashed).take(3);
    let rest = dirs.iter().filter(|dir| !dir.is_empty() && !hashed(dir));
    for dir in few.chain(rest) {
        for outside in [&full, &empty] {
            try_all(&layout.path, &whole, outside, dir);
        }
    }
    // Nothing is in the way of those who come later.
    ok(&whole, &["pull", &from, "image"]);
    ok(&whole, &["fsck", "--contents"]);
}
