// SPDX-License-Identifier: GPL-2.0-only
//! What is measured: instructions, requests to the disk, memory.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result};
use rustix::time::{clock_gettime, ClockId};

/// The process that serves what is measured, or 0.
static SERVER: AtomicU32 = AtomicU32::new(0);

/// From here on, what this process uses counts as well; none does if it is 0.
pub fn count_server(pid: u32) {
    SERVER.store(pid, Ordering::Relaxed);
}

fn nanoseconds(clock: ClockId) -> u64 {
    let now = clock_gettime(clock);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// The CPU time that this process has used, and the one that serves it, in nanoseconds. In a guest
/// with `-icount shift=0` that is the number of instructions that ran on its behalf, in user space
/// and in the kernel.
pub fn cpu() -> Result<u64> {
    let ours = nanoseconds(ClockId::ProcessCPUTime);
    match SERVER.load(Ordering::Relaxed) {
        0 => Ok(ours),
        server => Ok(ours + cpu_of_threads(server)?),
    }
}

/// What the whole guest does during `action`, in nanoseconds: of use where several processes do it,
/// and none of them waits for a disk.
pub fn all_of<R>(action: impl FnOnce() -> Result<R>) -> Result<(u64, R)> {
    let start = nanoseconds(ClockId::Monotonic);
    let result = action()?;
    Ok((nanoseconds(ClockId::Monotonic) - start, result))
}

/// The CPU time of `action`, as [`cpu`] has it.
pub fn cpu_of<R>(action: impl FnOnce() -> Result<R>) -> Result<(u64, R)> {
    let start = cpu()?;
    let result = action()?;
    Ok((cpu()? - start, result))
}

/// The CPU time of the cheapest of `rounds` runs: the others met more interrupts.
pub fn cheapest(rounds: usize, mut action: impl FnMut() -> Result<()>) -> Result<u64> {
    let mut least = u64::MAX;
    for _ in 0..rounds {
        least = least.min(cpu_of(&mut action)?.0);
    }
    Ok(least)
}

/// The middle one of some figures, the lower of the two if they are even in number.
pub fn median<T: Copy + Default + Ord>(mut figures: Vec<T>) -> T {
    figures.sort_unstable();
    figures
        .get(figures.len().saturating_sub(1) / 2)
        .copied()
        .unwrap_or_default()
}

/// The CPU time of a process that has ended and was not waited for, in nanoseconds.
pub fn cpu_of_process(pid: u32) -> Result<u64> {
    cpu_of_task(Path::new(&format!("/proc/{pid}")))
}

/// That of all threads of one that goes on.
fn cpu_of_threads(pid: u32) -> Result<u64> {
    let path = format!("/proc/{pid}/task");
    let threads = fs::read_dir(&path).with_context(|| path.clone())?;
    threads.map(|thread| cpu_of_task(&thread?.path())).sum()
}

fn cpu_of_task(directory: &Path) -> Result<u64> {
    let path = directory.join("schedstat");
    let context = || path.display().to_string();
    let text = fs::read_to_string(&path).with_context(context)?;
    let first = text.split_whitespace().next().with_context(context)?;
    Ok(first.parse()?)
}

/// What a block device has read so far. Source: Documentation/block/stat.rst.
#[derive(Clone, Copy, Debug)]
pub struct Reads {
    pub requests: u64,
    pub bytes: u64,
}

impl Reads {
    /// Of a device such as `vdb`.
    pub fn of(device: &str) -> Result<Self> {
        let path = format!("/sys/block/{device}/stat");
        let text = fs::read_to_string(&path).with_context(|| path.clone())?;
        let numbers: Vec<u64> = text.split_whitespace().flat_map(str::parse).collect();
        let [requests, _, sectors, ..] = numbers[..] else {
            anyhow::bail!("{path}: {text:?}");
        };
        Ok(Self {
            requests,
            bytes: sectors * 512,
        })
    }

    pub fn since(self, earlier: Self) -> Self {
        Self {
            requests: self.requests - earlier.requests,
            bytes: self.bytes - earlier.bytes,
        }
    }
}

/// What the kernel's caches take up, in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Memory {
    pub slab: i64,
    pub page_cache: i64,
}

impl Memory {
    pub fn now() -> Result<Self> {
        let text = fs::read_to_string("/proc/meminfo").context("/proc/meminfo")?;
        let field = |name: &str| -> Result<i64> {
            let mut lines = text.lines();
            let value = lines
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
                .and_then(|rest| rest.split_whitespace().next())
                .with_context(|| format!("/proc/meminfo has no {name}"))?;
            Ok(value.parse::<i64>()? * 1024)
        };
        Ok(Self {
            slab: field("Slab")?,
            page_cache: field("Cached")? + field("Buffers")?,
        })
    }

    pub fn since(self, earlier: Self) -> Self {
        Self {
            slab: self.slab - earlier.slab,
            page_cache: self.page_cache - earlier.page_cache,
        }
    }

    pub fn or_more(self, other: Self) -> Self {
        Self {
            slab: self.slab.max(other.slab),
            page_cache: self.page_cache.max(other.page_cache),
        }
    }
}
