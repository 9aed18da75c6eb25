// SPDX-License-Identifier: GPL-2.0-only
//! What the kernel keeps in memory for a tree.

use std::thread::sleep;
use std::time::Duration;

use anyhow::Result;
use composefs_selftests::setup::drop_caches;

use crate::meter::{median, Memory};
use crate::opening::read_all;
use crate::recorder::Recorder;
use crate::tree::Paths;
use crate::walking::{walk, walk_each};

/// How many operations there are between two looks at the memory in use.
const SAMPLE: usize = 256;

const ROUNDS: usize = 3;

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

/// How much the caches have grown in the end, and how much at most meanwhile.
#[derive(Clone, Copy)]
struct Growth {
    end: Memory,
    peak: Memory,
}

/// That of `action`, which is given what to call now and then.
fn growth(action: impl FnOnce(&mut dyn FnMut() -> Result<()>) -> Result<()>) -> Result<Growth> {
    let before = nothing_cached()?;
    let mut peak = before;
    action(&mut || {
        peak = peak.or_more(Memory::now()?);
        Ok(())
    })?;
    settle();
    let end = Memory::now()?;
    Ok(Growth {
        end: end.since(before),
        peak: end.or_more(peak).since(before),
    })
}

/// By a walk.
fn of_walk() -> Result<Growth> {
    growth(|look| {
        let mut count = 0;
        walk_each(|_, _| {
            count += 1;
            if count % SAMPLE == 0 {
                look()?;
            }
            Ok(())
        })
        .map(drop)
    })
}

/// By a walk, and opening and reading the start of each file after it.
fn of_opening(paths: &Paths) -> Result<Growth> {
    growth(|look| {
        walk()?;
        for files in paths.files.chunks(SAMPLE) {
            read_all(files)?;
            look()?;
        }
        Ok(())
    })
}

/// Records the medians of several rounds, with `what` in the names of the figures.
fn record(recorder: &Recorder, what: &str, round: impl Fn() -> Result<Growth>) -> Result<()> {
    let rounds: Vec<Growth> = (0..ROUNDS).map(|_| round()).collect::<Result<_>>()?;
    let record = |name: &str, figure: fn(&Growth) -> i64| {
        let figures = rounds.iter().map(figure).collect();
        recorder.bytes(&name.replace('*', what), median(figures));
    };
    record("slab_*", |growth| growth.end.slab);
    record("slab_*_peak", |growth| growth.peak.slab);
    record("page_cache_*", |growth| growth.end.page_cache);
    record("page_cache_*_peak", |growth| growth.peak.page_cache);
    Ok(())
}

pub fn measure(recorder: &Recorder, paths: &Paths) -> Result<()> {
    record(recorder, "walk", of_walk)?;
    if recorder.system.has_content() {
        record(recorder, "open", || of_opening(paths))?;
    }
    Ok(())
}
