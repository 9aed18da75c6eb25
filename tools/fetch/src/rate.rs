// SPDX-License-Identifier: GPL-2.0-only
//! No more than so many bytes in a second.

use std::io::{self, Read};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use composefs_tools::lock::lock;

/// What all who read have together.
#[derive(Debug)]
pub struct Rate {
    bytes_per_second: u64,
    /// When what was read up to now has had its time.
    free: Mutex<Instant>,
}

impl Rate {
    /// So many bytes in a second.
    pub fn new(bytes_per_second: u64) -> Self {
        Self {
            bytes_per_second: bytes_per_second.max(1),
            free: Mutex::new(Instant::now()),
        }
    }

    /// Waits until so many bytes may have been read.
    fn wait(&self, bytes: u64) {
        let takes = bytes as f64 / self.bytes_per_second as f64;
        let now = Instant::now();
        let until = {
            let mut free = lock(&self.free);
            // What was not used is lost.
            *free = (*free).max(now) + Duration::from_secs_f64(takes);
            *free
        };
        thread::sleep(until.saturating_duration_since(now));
    }
}

/// Reads at most at a rate, if there is one.
pub struct Limited<'a, R> {
    inner: R,
    rate: Option<&'a Rate>,
}

impl<'a, R: Read> Limited<'a, R> {
    /// Of a stream.
    pub fn new(inner: R, rate: Option<&'a Rate>) -> Self {
        Self { inner, rate }
    }
}

impl<R: Read> Read for Limited<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        if let Some(rate) = self.rate {
            rate.wait(count as u64);
        }
        Ok(count)
    }
}
