// SPDX-License-Identifier: GPL-2.0-only
//! Metadata: walks, stat, names that are not there, directories and attributes.

use std::ffi::{CStr, CString};

use anyhow::{bail, ensure, Context, Result};
use composefs_selftests::setup::drop_caches;
use rustix::fs::{FileType, Mode, OFlags, RawDir};
use rustix::io::Errno;

use crate::meter::{cheapest, cpu_of, median, Reads};
use crate::recorder::Recorder;
use crate::tree::{Paths, ATTRIBUTE};

/// What getdents(2) is given, as in glibc.
const BUFFER: usize = 32 << 10;
const COLD_ROUNDS: usize = 3;
pub const WARM_ROUNDS: usize = 3;
/// Absent names that are looked up in each directory.
const ABSENT: usize = 4;

/// Lists every directory below the current one and asks for the metadata of each entry by its path;
/// returns how many entries there are.
pub fn walk() -> Result<usize> {
    walk_each(|_, _| Ok(()))
}

/// As [`walk`]; `each` is called after each entry, with its path and type.
pub fn walk_each(mut each: impl FnMut(&CStr, FileType) -> Result<()>) -> Result<usize> {
    let mut buffer = Vec::with_capacity(BUFFER);
    let mut stack = vec![Vec::new()];
    let mut entries = 0;
    while let Some(mut path) = stack.pop() {
        let directory = if path.is_empty() {
            open_directory(c".")?
        } else {
            let directory = open_directory(terminated(&mut path)?)?;
            path.pop();
            path.push(b'/');
            directory
        };
        let length = path.len();
        let mut listing = RawDir::new(directory, buffer.spare_capacity_mut());
        while let Some(entry) = listing.next() {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if matches!(name, b"." | b"..") {
                continue;
            }
            path.truncate(length);
            path.extend_from_slice(name);
            let named = terminated(&mut path)?;
            let file_type = FileType::from_raw_mode(rustix::fs::lstat(named)?.st_mode);
            each(named, file_type)?;
            if file_type == FileType::Directory {
                path.pop();
                stack.push(path.clone());
            }
            entries += 1;
        }
    }
    Ok(entries)
}

fn terminated(path: &mut Vec<u8>) -> Result<&CStr> {
    path.push(0);
    Ok(CStr::from_bytes_with_nul(path)?)
}

fn open_directory(path: &CStr) -> Result<rustix::fd::OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty()).with_context(|| format!("{path:?}"))
}

/// Walks with nothing in memory, and what that reads from the disk.
fn cold(recorder: &Recorder, device: &str) -> Result<()> {
    let (mut cpu, mut requests, mut bytes) = (Vec::new(), Vec::new(), Vec::new());
    let mut entries = 0;
    for _ in 0..COLD_ROUNDS {
        drop_caches()?;
        let before = Reads::of(device)?;
        let (time, count) = cpu_of(walk)?;
        let reads = Reads::of(device)?.since(before);
        entries = count;
        cpu.push(time);
        requests.push(reads.requests);
        bytes.push(reads.bytes);
    }
    recorder.per_operation("walk_cold", median(cpu), entries);
    recorder.value("io_requests_cold", median(requests) as f64, "requests");
    recorder.bytes("io_bytes_cold", median(bytes) as i64);
    Ok(())
}

pub fn warm(recorder: &Recorder, rounds: usize) -> Result<()> {
    let mut entries = walk()?;
    let time = cheapest(rounds, || {
        entries = walk()?;
        Ok(())
    })?;
    recorder.per_operation("walk_warm", time, entries);
    Ok(())
}

/// The metadata of files whose inodes are in memory, by their paths.
pub fn stat(recorder: &Recorder, files: &[CString]) -> Result<()> {
    stat_once(files)?;
    let time = cheapest(WARM_ROUNDS, || stat_once(files))?;
    recorder.per_operation("stat_warm", time, files.len());
    Ok(())
}

pub fn stat_once(files: &[CString]) -> Result<()> {
    for file in files {
        rustix::fs::lstat(&**file)?;
    }
    Ok(())
}

/// Names that are not there: asked for the first time, and when that is known.
pub fn negative(recorder: &Recorder, directories: &[CString]) -> Result<()> {
    let mut first = u64::MAX;
    let mut names = Vec::new();
    for round in 0..WARM_ROUNDS {
        names.clear();
        for directory in directories {
            for number in 0..ABSENT {
                let mut path = directory.to_bytes().to_vec();
                path.extend_from_slice(format!("/n{number}-absent-{round}").as_bytes());
                names.push(CString::new(path)?);
            }
        }
        first = first.min(cpu_of(|| absent(&names))?.0);
    }
    recorder.per_operation("lookup_negative", first, names.len());
    let again = cheapest(WARM_ROUNDS, || absent(&names))?;
    recorder.per_operation("lookup_negative_again", again, names.len());
    Ok(())
}

pub fn absent(names: &[CString]) -> Result<()> {
    for name in names {
        match rustix::fs::lstat(&**name) {
            Err(Errno::NOENT) => {}
            found => bail!("{name:?}: {:?}", found.map(|stat| stat.st_mode)),
        }
    }
    Ok(())
}

/// Opens, lists and closes directories; returns how many entries they have.
pub fn list_all(directories: &[CString]) -> Result<usize> {
    let mut buffer: Vec<u8> = Vec::with_capacity(BUFFER);
    let mut entries = 0;
    for path in directories {
        let mut listing = RawDir::new(open_directory(path)?, buffer.spare_capacity_mut());
        while let Some(entry) = listing.next() {
            entry?;
            entries += 1;
        }
    }
    Ok(entries)
}

pub fn readdir(recorder: &Recorder, directories: &[CString]) -> Result<()> {
    let entries = list_all(directories)?;
    let time = cheapest(WARM_ROUNDS, || list_all(directories).map(drop))?;
    recorder.per_operation("readdir", time, entries);
    Ok(())
}

pub fn attributes(recorder: &Recorder, paths: &Paths) -> Result<()> {
    let (mark, others) = (attribute()?, absent_attributes()?);
    let hit = || attributes_of(&paths.marked, &mark, true);
    let miss = || attributes_of(&paths.files, &others, false);
    hit()?;
    let time = cheapest(WARM_ROUNDS, hit)?;
    recorder.per_operation("getxattr_hit", time, paths.marked.len());
    miss()?;
    let time = cheapest(WARM_ROUNDS, miss)?;
    recorder.per_operation("getxattr_miss", time, paths.files.len());
    Ok(())
}

/// The attribute that some of the files have.
pub fn attribute() -> Result<[CString; 1]> {
    Ok([CString::new(ATTRIBUTE)?])
}

/// Attributes that no file has: several, because the filter of an inode knows most absent names, and
/// not the same ones of all inodes.
pub fn absent_attributes() -> Result<Vec<CString>> {
    let names = (0..16).map(|number| Ok(CString::new(format!("user.absent-{number}"))?));
    names.collect()
}

/// Asks each file for one of `names`, in turn.
pub fn attributes_of(files: &[CString], names: &[CString], exists: bool) -> Result<()> {
    let mut value = [0u8; 256];
    for (file, name) in files.iter().zip(names.iter().cycle()) {
        let found = rustix::fs::getxattr(&**file, &**name, &mut value);
        ensure!(
            if exists {
                found.is_ok()
            } else {
                found == Err(Errno::NODATA)
            },
            "{name:?} of {file:?}: {found:?}"
        );
    }
    Ok(())
}

/// Everything of this file, for one tree that is mounted.
pub fn measure(recorder: &Recorder, paths: &Paths, device: &str) -> Result<()> {
    cold(recorder, device)?;
    warm(recorder, WARM_ROUNDS)?;
    stat(recorder, &paths.files)?;
    negative(recorder, &paths.directories)?;
    readdir(recorder, &paths.directories)?;
    attributes(recorder, paths)
}
