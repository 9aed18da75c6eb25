// SPDX-License-Identifier: GPL-2.0-only
//! What the kernel keeps in memory for a tree.

use std::thread::sleep;
use std::time::Duration;

use anyhow::Result;
use composefs_selftests::setup::drop_caches;

use crate::meter::Memory;
use crate::opening::read_all;
use crate::recorder::Recorder;
use crate::tree::Paths;
use crate::walking::{walk, walk_each};

/// How many operations there are between two looks at the memory in use.
const SAMPLE: usize = 256;

/// Waits until what was freed after an RCU grace period is free, and what was written is clean.
/// Where the CPU's time is counted in instructions, waiting takes none.
pub fn settle() {
    rustix::fs::sync();
    sleep(Duration::from_secs(2));
}

/// What is in use when everything that can be dropped is.
pub fn nothing_cached() -> Result<Memory> {
    // What the first round frees holds what the second one frees.
    for _ in 0..3 {
        drop_caches()?;
        settle();
    }
    Memory::now()
}

/// Growth of the caches by a walk, with `walk` in the names of the figures.
fn after_walk(recorder: &Recorder) -> Result<()> {
    let before = nothing_cached()?;
    let (mut peak, mut count) = (before, 0);
    walk_each(|_, _| {
        count += 1;
        if count % SAMPLE == 0 {
            peak = peak.or_more(Memory::now()?);
        }
        Ok(())
    })?;
    settle();
    record(recorder, "walk", before, peak)
}

/// Growth of the caches by a walk, and opening and reading the start of each file after it.
fn after_opening(recorder: &Recorder, paths: &Paths) -> Result<()> {
    let before = nothing_cached()?;
    walk()?;
    let mut peak = before;
    for files in paths.files.chunks(SAMPLE) {
        read_all(files)?;
        peak = peak.or_more(Memory::now()?);
    }
    settle();
    record(recorder, "open", before, peak)
}

fn record(recorder: &Recorder, what: &str, before: Memory, peak: Memory) -> Result<()> {
    let after = Memory::now()?;
    let (after, peak) = (after.since(before), after.or_more(peak).since(before));
    recorder.bytes(&format!("slab_{what}"), after.slab);
    recorder.bytes(&format!("slab_{what}_peak"), peak.slab);
    recorder.bytes(&format!("page_cache_{what}"), after.page_cache);
    recorder.bytes(&format!("page_cache_{what}_peak"), peak.page_cache);
    Ok(())
}

pub fn measure(recorder: &Recorder, paths: &Paths) -> Result<()> {
    after_walk(recorder)?;
    if recorder.system.has_content() {
        after_opening(recorder, paths)?;
    }
    Ok(())
}
