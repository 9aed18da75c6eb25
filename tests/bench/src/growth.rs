// SPDX-License-Identifier: GPL-2.0-only
//! How costs grow with the number of entries.

use std::ffi::CString;

use anyhow::Result;
use rustix::fs::FileType;

use crate::memory;
use crate::meter::{cpu_of, Memory, Reads};
use crate::mounting;
use crate::recorder::Recorder;
use crate::system::{Subject, System};
use crate::walking::{self, walk_each};

/// How many files and directories single operations are done on.
const SAMPLE: usize = 2000;

/// So many of `paths`, from everywhere.
fn some(paths: Vec<CString>) -> Vec<CString> {
    let step = paths.len().div_ceil(SAMPLE).max(1);
    paths.into_iter().step_by(step).collect()
}

pub fn measure(recorder: &Recorder, subject: &Subject, device: &str) -> Result<()> {
    let before = memory::nothing_cached()?;
    subject.mount(recorder.system)?;
    subject.enter()?;
    let mounted = Memory::now()?.since(before);
    recorder.bytes("slab_mount", mounted.slab);
    recorder.bytes("page_cache_mount", mounted.page_cache);

    let before = memory::nothing_cached()?;
    let reads = Reads::of(device)?;
    let (mut files, mut directories) = (Vec::new(), Vec::new());
    let (time, entries) = cpu_of(|| {
        walk_each(|path, file_type| {
            match file_type {
                FileType::Directory => directories.push(path.to_owned()),
                _ => files.push(path.to_owned()),
            }
            Ok(())
        })
    })?;
    let reads = Reads::of(device)?.since(reads);
    memory::settle();
    let walked = Memory::now()?.since(before);
    recorder.per_operation("walk_cold", time, entries);
    recorder.value("io_requests_cold", reads.requests as f64, "requests");
    recorder.bytes("io_bytes_cold", reads.bytes as i64);
    recorder.bytes("slab_walk", walked.slab);
    recorder.bytes("page_cache_walk", walked.page_cache);

    let (files, directories) = (some(files), some(directories));
    walking::warm(recorder, 1)?;
    walking::stat(recorder, &files)?;
    walking::negative(recorder, &directories)?;
    walking::readdir(recorder, &directories)?;

    // Each name is found in its directory, and its inode is read; the image stays in memory.
    for _ in 0..3 {
        // Names that were used lately outlast the first round.
        std::fs::write("/proc/sys/vm/drop_caches", "2")?;
        memory::settle();
    }
    let (time, ()) = cpu_of(|| walking::stat_once(&files))?;
    recorder.per_operation("stat_first", time, files.len());

    subject.unmount()?;
    if recorder.system != System::Ext4 {
        mounting::measure(recorder, subject, None)?;
    }
    Ok(())
}
