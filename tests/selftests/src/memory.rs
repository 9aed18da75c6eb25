// SPDX-License-Identifier: GPL-2.0-only
//! What the driver keeps in memory, as the kernel's own instruments show it.

use std::fs;
use std::path::Path;

use anyhow::{bail, ensure, Context, Result};

use crate::tap::Skip;

const CACHE: &str = "/sys/kernel/slab/composefs_inode_cache";
const KMEMLEAK: &str = "/sys/kernel/debug/kmemleak";

/// What a line of `/proc/PID/status` says that is in kB, in bytes: `VmHWM`, `RssAnon`.
///
/// # Errors
/// If there is no such process, or it has no memory any more.
pub fn of_process(process: u32, line: &str) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let of_line = |text: &str| {
        let (name, value) = text.split_once(':')?;
        let number = value.split_whitespace().next()?;
        (name == line).then(|| number.parse::<u64>().ok())?
    };
    let kilobytes = status.lines().find_map(of_line);
    Ok(kilobytes.with_context(|| format!("process {process} has no {line}"))? * 1024)
}

/// Inodes of the driver that are in memory, with what the allocator can give back given back.
pub fn inodes() -> Result<usize> {
    let file = |name: &str| Path::new(CACHE).join(name);
    if !file("shrink").exists() {
        return Err(Skip(format!("no {CACHE}")).into());
    }
    fs::write(file("shrink"), "1")?;
    let text = fs::read_to_string(file("objects"))?;
    let number = text.split_whitespace().next().context("objects")?;
    Ok(number.parse()?)
}

/// Waits for inodes to be freed, which happens after an RCU grace period, in tasks of the kernel.
pub fn no_inodes() -> Result<()> {
    let mut left = 0;
    for _ in 0..2000 {
        left = inodes()?;
        if left == 0 {
            return Ok(());
        }
        rustix::fs::sync();
        std::thread::yield_now();
    }
    bail!("{left} inodes are left")
}

/// Fails if kmemleak has found memory that is lost; skips where the kernel has no kmemleak.
pub fn expect_no_leak() -> Result<()> {
    if !Path::new(KMEMLEAK).exists() {
        return Err(Skip("the kernel has no kmemleak".into()).into());
    }
    // What is reported has been seen by two scans.
    for _ in 0..2 {
        fs::write(KMEMLEAK, "scan")?;
    }
    let report = fs::read_to_string(KMEMLEAK)?;
    ensure!(report.is_empty(), "{report}");
    Ok(())
}
