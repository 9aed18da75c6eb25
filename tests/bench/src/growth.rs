// SPDX-License-Identifier: GPL-2.0-only
//! How costs grow with the number of entries.

use std::ffi::CString;
use std::path::Path;

use anyhow::Result;
use composefs_selftests::setup::drop_caches;

use crate::memory;
use crate::meter::{cpu_of, Memory};
use crate::mounting;
use crate::recorder::Recorder;
use crate::system::{Subject, System};
use crate::tree::Paths;
use crate::walking;

/// How many files and directories single operations are done on.
const SAMPLE: usize = 2000;

/// So many of `paths`, from everywhere.
fn some(paths: &[CString]) -> Vec<CString> {
    let step = paths.len().div_ceil(SAMPLE).max(1);
    paths.iter().step_by(step).cloned().collect()
}

pub fn measure(recorder: &Recorder, subject: &Subject, device: &str) -> Result<()> {
    let before = memory::nothing_cached()?;
    subject.mount(recorder.system)?;
    let mounted = Memory::now()?.since(before);
    recorder.bytes("slab_mount", mounted.slab);
    recorder.bytes("page_cache_mount", mounted.page_cache);

    subject.enter()?;
    let paths = Paths::collect(&subject.target, Path::new(""))?;
    let (files, directories) = (some(&paths.files), some(&paths.directories));
    walking::cold(recorder, device, 1)?;
    walking::warm(recorder, 2)?;
    walking::stat(recorder, &files)?;
    walking::negative(recorder, &directories)?;
    walking::readdir(recorder, &directories)?;
    memory::after_walk(recorder)?;

    // Each name is found in its directory, and its inode is read; the image is in memory.
    drop_caches()?;
    walking::stat_once(&files)?;
    drop_dentries()?;
    let (time, ()) = cpu_of(|| walking::stat_once(&files))?;
    recorder.per_operation("stat_first", time, files.len());

    subject.unmount()?;
    if recorder.system != System::Ext4 {
        mounting::measure(recorder, subject, None)?;
    }
    Ok(())
}

/// Drops names and inodes, but not the pages of files that are open elsewhere (the image).
fn drop_dentries() -> Result<()> {
    std::fs::write("/proc/sys/vm/drop_caches", "2")?;
    Ok(())
}
