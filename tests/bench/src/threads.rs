// SPDX-License-Identifier: GPL-2.0-only
//! Two threads at once, on two CPUs. The figures are times of the wall's clock: only their ratios
//! mean anything, and those only roughly.

use std::ffi::CString;
use std::sync::Barrier;
use std::thread;
use std::time::Instant;

use anyhow::{anyhow, Result};

use crate::opening::open;
use crate::recorder::Recorder;

const THREADS: usize = 2;
/// Operations of each thread.
const OPERATIONS: usize = 1000;

/// What a thread does, by the number of the operation.
type Operation<'a> = &'a (dyn Fn(usize) -> Result<()> + Sync);

/// Nanoseconds that two threads take for [`OPERATIONS`] each: from when the first of them begins to
/// when the last is done.
fn together(operation: Operation<'_>) -> Result<u64> {
    let barrier = Barrier::new(THREADS);
    let times = thread::scope(|scope| -> Result<Vec<(Instant, Instant)>> {
        let threads: Vec<_> = (0..THREADS)
            .map(|number| {
                let barrier = &barrier;
                scope.spawn(move || -> Result<(Instant, Instant)> {
                    barrier.wait();
                    let start = Instant::now();
                    (0..OPERATIONS).try_for_each(|count| operation(count * THREADS + number))?;
                    Ok((start, Instant::now()))
                })
            })
            .collect();
        let join = |thread: thread::ScopedJoinHandle<'_, _>| {
            thread.join().map_err(|_| anyhow!("a thread died"))?
        };
        threads.into_iter().map(join).collect()
    })?;
    let start = times.iter().map(|(start, _)| *start).min();
    let end = times.iter().map(|(_, end)| *end).max();
    let time = start.zip(end).map(|(start, end)| end - start);
    Ok(time.unwrap_or_default().as_nanos() as u64)
}

/// A round of all operations on one system: their names and times.
pub fn round(files: &[CString]) -> Result<Vec<(&'static str, u64)>> {
    let many = |number: usize| &files[number % files.len()];
    let one = || &files[0];
    let open_one = |_| open(one()).map(drop);
    let open_many = |number| open(many(number)).map(drop);
    let stat = |file: &CString| -> Result<()> {
        rustix::fs::lstat(&**file)?;
        Ok(())
    };
    let stat_one = |_| stat(one());
    let stat_many = |number| stat(many(number));
    Ok(vec![
        ("open_one_2threads", together(&open_one)?),
        ("open_many_2threads", together(&open_many)?),
        ("stat_one_2threads", together(&stat_one)?),
        ("stat_many_2threads", together(&stat_many)?),
    ])
}

/// Prints the time of one operation of one thread.
pub fn record(recorder: &Recorder, operation: &str, time: u64) {
    let value = (time as f64 / OPERATIONS as f64).round();
    recorder.value(operation, value, "ns of wall time");
}
