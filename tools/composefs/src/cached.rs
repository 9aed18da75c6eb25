// SPDX-License-Identifier: GPL-2.0-only
//! What of a file is in memory.

use std::fs::File;
use std::io::IoSliceMut;
use std::os::unix::fs::FileExt;

use anyhow::{Context, Result};
use composefs_repository::profile::{Blocks, BLOCK_SIZE};
use rustix::fs::{fadvise, Advice};
use rustix::io::{preadv2, Errno, ReadWriteFlags};
use rustix::param::page_size;

/// Nothing of it is from now on, but for what somebody has mapped.
pub fn evict(file: &File) -> Result<()> {
    Ok(fadvise(file, 0, None, Advice::DontNeed)?)
}

/// Which blocks of it are. Others may be afterwards: the kernel begins to read what it is asked for,
/// even by those who will not wait, and now and then has it before it answers. What this thread has had
/// read tells one from the other.
pub fn blocks(file: &File) -> Result<Blocks> {
    // It is not to begin with more than that.
    fadvise(file, 0, None, Advice::Random)?;
    let page = u64::try_from(page_size())?.max(BLOCK_SIZE);
    let mut byte = [0];
    let mut cached = Vec::new();
    let account = File::open("/proc/thread-self/io").context("cannot see what is read")?;
    let mut before = read_by_us(&account)?;
    // From the end on: at some pages it begins to read those behind them nevertheless.
    for number in (0..file.metadata()?.len().div_ceil(page)).rev() {
        let mut into = [IoSliceMut::new(&mut byte)];
        let found = preadv2(file, &mut into, number * page, ReadWriteFlags::NOWAIT);
        let after = read_by_us(&account)?;
        match found {
            Ok(_) if after != before => {}
            // A file system that cannot tell has all of it.
            Ok(_) | Err(Errno::OPNOTSUPP) => cached.push(number),
            Err(Errno::AGAIN) => {}
            Err(error) => return Err(error.into()),
        }
        before = after;
    }
    let of_page = page / BLOCK_SIZE;
    let mut blocks = Blocks::default();
    for number in cached.into_iter().rev() {
        (number * of_page..(number + 1) * of_page).for_each(|block| blocks.push(block));
    }
    Ok(blocks)
}

/// Bytes that this thread has had read from disks.
fn read_by_us(account: &File) -> Result<u64> {
    let mut text = [0; 512];
    let count = account.read_at(&mut text, 0)?;
    let text = String::from_utf8_lossy(text.get(..count).unwrap_or_default());
    let mut lines = text.lines();
    let bytes = lines.find_map(|line| line.strip_prefix("read_bytes: "));
    Ok(bytes.context("/proc/thread-self/io")?.parse()?)
}
