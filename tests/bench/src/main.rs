// SPDX-License-Identifier: GPL-2.0-only
//! Runs in the guest: prints a line for each figure, see `composefs_bench::figure`.
//!
//! `composefs-bench DISK all|start|growth|contended|profile DEVICE OTHER`: `DISK` is where what
//! `scripts/in-guest/bench-prepare` made is mounted, `DEVICE` the name of its block device, and
//! `OTHER` the path of one with an ext4 file system that can be mounted, or what to profile.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{bail, Context, Result};
use composefs_bench::recorder::Recorder;
use composefs_bench::system::{self, Subject, System};
use composefs_bench::tree::Paths;
use composefs_bench::{
    growth as growing, lazily, memory, mounting, opening, profile, reading, starting, threads,
    unprivileged, walking,
};
use composefs_selftests::setup::drop_caches;
use rustix::mount::{unmount, UnmountFlags};

const CONTENDED_ROUNDS: usize = 20;

fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    if let [_, "trigger", ..] = arguments[..] {
        return lazily::serve();
    }
    system::load()?;
    match arguments[..] {
        [disk, "all", device, mounts] => all(Path::new(disk), device, Path::new(mounts)),
        [disk, "start", device, _] => {
            unmount(disk, UnmountFlags::empty())?;
            starting::measure(device)
        }
        [disk, "growth", device, _] => growth(Path::new(disk), device),
        [disk, "contended", _, _] => contended(Path::new(disk)),
        [disk, "profile", _, system] => profile_all(Path::new(disk), System::named(system)),
        _ => bail!("arguments: DISK all|start|growth|contended|profile DEVICE OTHER"),
    }
}

/// What was prepared in `directory`.
fn subject(directory: &Path, objects: &Path, target: PathBuf) -> Result<Subject> {
    let digest = directory.join("digest");
    let digest = fs::read_to_string(&digest).with_context(|| digest.display().to_string())?;
    Ok(Subject {
        tree: directory.join("tree"),
        image: directory.join("image"),
        data: directory.join("data"),
        objects: objects.to_owned(),
        digest: digest.trim().to_owned(),
        target,
    })
}

/// Where one system at a time is mounted.
const TARGET: &str = "/mnt";

fn all(disk: &Path, device: &str, mounts: &Path) -> Result<()> {
    let subject = subject(disk, &disk.join("objects"), TARGET.into())?;
    let paths = Paths::collect(&subject.tree, Path::new(""))?;
    for system in System::BY_ROOT {
        let recorder = Recorder::new(system);
        drop_caches()?;
        subject.mount(system)?;
        subject.enter()?;
        walking::measure(&recorder, &paths, device)?;
        if system.has_content() {
            opening::measure(&recorder, &paths, &subject.target)?;
            reading::measure(&recorder, &paths)?;
        }
        memory::measure(&recorder, &paths)?;
        subject.unmount()?;
        mounting::measure(&recorder, &subject, Some(mounts))?;
    }
    lazily::measure(&subject, &paths, device)?;
    unprivileged::measure(&subject, &paths, device)
}

/// Trees of metadata: `growth/NAME`, each with an image; from the smallest on.
fn growth(disk: &Path, device: &str) -> Result<()> {
    let directory = disk.join("growth");
    let mut names: Vec<_> = fs::read_dir(&directory)?.collect::<Result<_, _>>()?;
    names.sort_by_key(|name| fs::metadata(name.path().join("image")).map_or(0, |data| data.len()));
    for name in names {
        let subject = subject(&name.path(), &disk.join("objects"), TARGET.into())?;
        for system in System::BY_ROOT {
            // The largest tree would take too long to make of files.
            if system == System::Ext4 && !subject.tree.exists() || system.is_data_inside() {
                continue;
            }
            let mut recorder = Recorder::new(system);
            recorder.suffix = format!("_{}", name.file_name().to_string_lossy());
            growing::measure(&recorder, &subject, device)?;
        }
    }
    Ok(())
}

fn contended(disk: &Path) -> Result<()> {
    let systems = [System::Composefs, System::Overlay, System::Ext4];
    let mut files = Vec::new();
    for (number, system) in systems.into_iter().enumerate() {
        let subject = subject(
            disk,
            &disk.join("objects"),
            Path::new("/tmp").join(number.to_string()),
        )?;
        subject.mount(system)?;
        let paths = Paths::collect(&subject.tree, &subject.target)?;
        opening::open_all(&paths.files)?;
        files.push(paths.files);
    }
    // The host's other work hits all systems alike, and the best round of each least.
    let mut best = BTreeMap::new();
    for _ in 0..CONTENDED_ROUNDS {
        for (system, files) in systems.into_iter().zip(&files) {
            for (operation, time) in threads::round(files)? {
                let least = best.entry((operation, system)).or_insert(u64::MAX);
                *least = time.min(*least);
            }
        }
    }
    for ((operation, system), time) in best {
        threads::record(&Recorder::new(system), operation, time);
    }
    Ok(())
}

/// Profiles one system, or all of them.
fn profile_all(disk: &Path, only: Option<System>) -> Result<()> {
    let subject = subject(disk, &disk.join("objects"), TARGET.into())?;
    for system in System::BY_ROOT {
        if only.is_none_or(|only| only == system) {
            profile::run(&subject, system)?;
        }
    }
    Ok(())
}
