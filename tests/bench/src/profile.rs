// SPDX-License-Identifier: GPL-2.0-only
//! One operation after the other, between system calls that mark where it begins and ends: for
//! tools outside the guest that count instructions function by function.

use std::ffi::CString;
use std::path::Path;

use anyhow::Result;
use composefs_selftests::setup::drop_caches;
use rustix::process::getsid;

use crate::opening::{map_all, open, open_all, read_all};
use crate::reading::pread_at_random;
use crate::system::{Subject, System};
use crate::tree::Paths;
use crate::walking::{
    absent, absent_attributes, attribute, attributes_of, list_all, stat_once, walk,
};

/// How many files and directories an operation is done on.
const SAMPLE: usize = 500;

/// Does `operation`, which does a thing `count` times, between `getsid(2)` and `sched_yield(2)`.
/// The numbers of the marks are printed by the caller's order.
fn between_marks(
    system: System,
    name: &str,
    count: usize,
    operation: impl FnOnce() -> Result<()>,
) -> Result<()> {
    println!("{}\t{name}\t{count}", system.name());
    getsid(None)?;
    let result = operation();
    std::thread::yield_now();
    result
}

/// Profiles one system.
pub fn run(subject: &Subject, system: System) -> Result<()> {
    subject.mount(system)?;
    subject.enter()?;
    let paths = Paths::collect(&subject.tree, Path::new(""))?;
    let some = |paths: &[CString]| -> Vec<CString> { paths.iter().take(SAMPLE).cloned().collect() };
    let files = some(&paths.files);
    let marked = some(&paths.marked);
    let directories = some(&paths.directories);

    let entries = walk()?;
    drop_caches()?;
    between_marks(system, "walk, nothing cached", entries, || walk().map(drop))?;
    std::fs::write("/proc/sys/vm/drop_caches", "2")?;
    between_marks(system, "walk, nothing but pages cached", entries, || {
        walk().map(drop)
    })?;
    between_marks(system, "walk", entries, || walk().map(drop))?;
    between_marks(system, "stat", files.len(), || stat_once(&files))?;
    let listed = list_all(&directories)?;
    between_marks(system, "readdir", listed, || {
        list_all(&directories).map(drop)
    })?;
    let (mark, others) = (attribute()?, absent_attributes()?);
    attributes_of(&marked, &mark, true)?;
    between_marks(system, "getxattr", marked.len(), || {
        attributes_of(&marked, &mark, true)
    })?;
    attributes_of(&files, &others, false)?;
    between_marks(system, "getxattr, none", files.len(), || {
        attributes_of(&files, &others, false)
    })?;
    let names: Vec<CString> = directories
        .iter()
        .map(|path| CString::new([path.to_bytes(), b"/absent"].concat()))
        .collect::<Result<_, _>>()?;
    between_marks(system, "no such name", names.len(), || absent(&names))?;
    if system.has_content() {
        read_all(&files)?;
        between_marks(system, "open", files.len(), || open_all(&files))?;
        between_marks(system, "open, read", files.len(), || read_all(&files))?;
        map_all(&files)?;
        between_marks(system, "open, mmap", files.len(), || {
            map_all(&files).map(drop)
        })?;
        let largest = open(&paths.largest)?;
        pread_at_random(&largest, paths.largest_bytes, SAMPLE)?;
        between_marks(system, "pread", SAMPLE, || {
            pread_at_random(&largest, paths.largest_bytes, SAMPLE)
        })?;
    }
    subject.unmount()?;
    let cycle = || -> Result<()> {
        subject.mount(system)?;
        subject.unmount()
    };
    if system == System::Composefs || system == System::Erofs {
        cycle()?;
        between_marks(system, "mount, umount", 1, cycle)?;
    }
    Ok(())
}
