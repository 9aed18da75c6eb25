// SPDX-License-Identifier: GPL-2.0-only
//! Opening files, and running programs.

use std::ffi::{CStr, CString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{ensure, Context, Result};
use composefs_selftests::setup::drop_caches;
use mmap_io::MemoryMappedFile;
use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags};
use rustix::process::{waitid, Pid, WaitId, WaitIdOptions};

use crate::meter::{cheapest, cpu_of, cpu_of_process, median};
use crate::recorder::Recorder;
use crate::tree::Paths;
use crate::walking::{walk, WARM_ROUNDS};

const COLD_ROUNDS: usize = 4;
/// What is read of each file.
const BLOCK: usize = 4096;
const EXEC_ROUNDS: usize = 15;

pub fn open(path: &CStr) -> Result<OwnedFd> {
    rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .with_context(|| format!("{path:?}"))
}

/// Opens and closes each file.
pub fn open_all(files: &[CString]) -> Result<()> {
    for file in files {
        open(file)?;
    }
    Ok(())
}

/// Opens each file, reads its first block, and closes it.
pub fn read_all(files: &[CString]) -> Result<()> {
    let mut buffer = [0u8; BLOCK];
    for file in files {
        rustix::io::read(&open(file)?, &mut buffer).with_context(|| format!("{file:?}"))?;
    }
    Ok(())
}

/// Opens each file, maps it, touches its first byte, unmaps and closes it. (The crate that does so
/// asks for the size of the file as well.)
pub fn map_all(files: &[CString]) -> Result<u64> {
    let mut sum = 0;
    for file in files {
        let path = Path::new(std::ffi::OsStr::from_bytes(file.to_bytes()));
        let mapped = MemoryMappedFile::open_ro(path).with_context(|| format!("{file:?}"))?;
        let bytes = mapped.as_slice_bytes(0, 1);
        let bytes = bytes.with_context(|| format!("{file:?}"))?;
        sum += bytes.first().map_or(0, |byte| u64::from(*byte));
    }
    Ok(sum)
}

/// The cost of running a program with a library, both from the tree. It is that of the process
/// that becomes the program, from its start to its end.
fn exec(recorder: &Recorder, root: &Path) -> Result<()> {
    let libraries = root.join("lib/x86_64-linux-gnu");
    let run = || -> Result<u64> {
        let mut child = Command::new(libraries.join("ld-linux-x86-64.so.2"))
            .arg("--library-path")
            .arg(&libraries)
            .arg(root.join("bin/true"))
            .stdin(Stdio::null())
            .spawn()
            .context("running bin/true of the tree")?;
        let pid = Pid::from_child(&child);
        waitid(
            WaitId::Pid(pid),
            WaitIdOptions::EXITED | WaitIdOptions::NOWAIT,
        )?;
        let cpu = cpu_of_process(child.id())?;
        ensure!(child.wait()?.success(), "bin/true of the tree has failed");
        Ok(cpu)
    };
    run()?;
    let times: Vec<u64> = (0..EXEC_ROUNDS).map(|_| run()).collect::<Result<_>>()?;
    recorder.per_operation("exec", median(times), 1);
    Ok(())
}

pub fn measure(recorder: &Recorder, paths: &Paths, root: &Path) -> Result<()> {
    let files = &paths.files;
    let mut first = Vec::new();
    for _ in 0..COLD_ROUNDS {
        drop_caches()?;
        walk()?;
        first.push(cpu_of(|| open_all(files))?.0);
    }
    recorder.per_operation("open_first", median(first), files.len());
    let again = cheapest(WARM_ROUNDS, || open_all(files))?;
    recorder.per_operation("open_again", again, files.len());

    read_all(files)?;
    let read = cheapest(WARM_ROUNDS, || read_all(files))?;
    recorder.per_operation("open_read", read, files.len());

    let mut sums = vec![map_all(files)?];
    let mapped = cheapest(WARM_ROUNDS, || {
        sums.push(map_all(files)?);
        Ok(())
    })?;
    sums.dedup();
    ensure!(sums.len() == 1, "mappings change: {sums:?}");
    recorder.per_operation("open_mmap", mapped, files.len());

    exec(recorder, root)
}
