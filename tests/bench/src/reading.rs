// SPDX-License-Identifier: GPL-2.0-only
//! Reading large files: in order, and here and there.

use std::ffi::CString;

use anyhow::{ensure, Result};
use composefs_fuzz::random::Random;
use composefs_selftests::setup::drop_caches;
use rustix::fd::OwnedFd;

use crate::meter::{cheapest, cpu_of, median};
use crate::opening::open;
use crate::recorder::Recorder;
use crate::tree::Paths;
use crate::walking::{walk, WARM_ROUNDS};

const COLD_ROUNDS: usize = 2;
/// What is asked for at once: by programs that read through stdio(3), and by cat(1).
const CHUNK: usize = 4 << 10;
const LARGE_CHUNK: usize = 128 << 10;
const PAGE: u64 = 4096;
const RANDOM_READS: usize = 4000;

fn read_to_end(files: &[CString], chunk: usize) -> Result<u64> {
    let mut buffer = vec![0u8; chunk];
    let mut total = 0;
    for path in files {
        let file = open(path)?;
        loop {
            let length = rustix::io::read(&file, &mut buffer[..])?;
            if length == 0 {
                break;
            }
            total += length as u64;
        }
    }
    Ok(total)
}

pub fn measure(recorder: &Recorder, paths: &Paths) -> Result<()> {
    let pages = (paths.large_bytes / PAGE) as usize;
    let all = |chunk| -> Result<()> {
        let total = read_to_end(&paths.large, chunk)?;
        ensure!(total == paths.large_bytes, "{total} bytes were read");
        Ok(())
    };
    let mut cold = Vec::new();
    for _ in 0..COLD_ROUNDS {
        drop_caches()?;
        walk()?;
        cold.push(cpu_of(|| all(CHUNK))?.0);
    }
    recorder.per_operation("read_seq_cold", median(cold), pages);
    let warm = cheapest(WARM_ROUNDS, || all(CHUNK))?;
    recorder.per_operation("read_seq_warm", warm, pages);
    let large = cheapest(WARM_ROUNDS, || all(LARGE_CHUNK))?;
    recorder.per_operation("read_seq_warm_128k", large, pages);

    let file = open(&paths.largest)?;
    let here_and_there = || pread_at_random(&file, paths.largest_bytes, RANDOM_READS);
    here_and_there()?;
    let time = cheapest(WARM_ROUNDS, here_and_there)?;
    recorder.per_operation("read_random", time, RANDOM_READS);
    Ok(())
}

/// Reads `count` pages of an open file of `size` bytes, the same ones each time.
pub fn pread_at_random(file: &OwnedFd, size: u64, count: usize) -> Result<()> {
    let mut buffer = vec![0u8; PAGE as usize];
    let mut random = Random::new(1);
    for _ in 0..count {
        let offset = random.below(size / PAGE) * PAGE;
        let length = rustix::io::pread(file, &mut buffer[..], offset)?;
        ensure!(length == buffer.len(), "{length} bytes at {offset}");
    }
    Ok(())
}
