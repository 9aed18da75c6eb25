// SPDX-License-Identifier: GPL-2.0-only
//! What the kernel logs while a test runs.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{bail, ensure, Context, Result};
use rustix::fs::{Mode, OFlags, SeekFrom};
use rustix::io::Errno;

/// What a healthy kernel never says.
const FAULTS: [&str; 12] = [
    "BUG:",
    "WARNING:",
    "Oops",
    "general protection fault",
    "unable to handle",
    "kernel panic",
    "refcount_t:",
    "VFS: Busy inodes",
    "kmem_cache_destroy",
    "still has objects",
    "blocked for more than",
    "rust_kernel: panicked",
];

/// Opens a file, which fails with this error; what the driver says about it.
pub fn of_failing_open(path: &Path, expected: Errno) -> Result<Vec<String>> {
    of_failure(|| {
        let error = File::open(path).err().context("the file was opened")?;
        let errno = Errno::from_io_error(&error);
        ensure!(errno == Some(expected), "{error}, expected {expected:?}");
        Ok(())
    })
}

/// What the driver says about a fault that `provoke` meets. The kernel limits the rate of such
/// messages, and an earlier test may have used it up, so this tries until there is one.
pub fn of_failure(mut provoke: impl FnMut() -> Result<()>) -> Result<Vec<String>> {
    let mut log = KernelLog::follow()?;
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(20) {
        provoke()?;
        let messages = log.read_composefs()?;
        if !messages.is_empty() {
            return Ok(messages);
        }
    }
    bail!("nothing in the kernel log")
}

/// A position in the kernel log; messages from there on can be read once.
pub struct KernelLog(OwnedFd);

impl KernelLog {
    /// Starts after the newest message.
    pub fn follow() -> Result<Self> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let fd = rustix::fs::open("/dev/kmsg", flags, Mode::empty()).context("/dev/kmsg")?;
        rustix::fs::seek(&fd, SeekFrom::End(0)).context("/dev/kmsg")?;
        Ok(Self(fd))
    }

    /// The messages that have come since, without their prefixes.
    pub fn read(&mut self) -> Result<Vec<String>> {
        let mut messages = Vec::new();
        // One read returns one record: "priority,sequence,time,flags;text\n KEY=value\n".
        let mut record = [0; 8192];
        loop {
            match rustix::io::read(&self.0, &mut record) {
                Ok(length) => {
                    let record = String::from_utf8_lossy(record.get(..length).unwrap_or_default());
                    let text = record.split_once(';').map_or("", |(_, text)| text);
                    messages.push(text.lines().next().unwrap_or("").to_owned());
                }
                Err(Errno::AGAIN) => return Ok(messages),
                // Messages were overwritten before they were read; go on with the oldest one left.
                Err(Errno::PIPE | Errno::INTR) => {}
                Err(error) => bail!("/dev/kmsg: {error}"),
            }
        }
    }

    /// The driver's own messages that have come since.
    pub fn read_composefs(&mut self) -> Result<Vec<String>> {
        let mut messages = self.read()?;
        messages.retain(|message| message.starts_with("composefs: "));
        Ok(messages)
    }

    /// Fails if a message since then reports a fault of the kernel.
    pub fn expect_no_fault(&mut self) -> Result<()> {
        let messages = self.read()?;
        // Whose races are reported is known to who reads the console (tests/harness/src/console.rs).
        let is_fault = |message: &String| {
            FAULTS.iter().any(|fault| message.contains(fault)) && !message.contains("BUG: KCSAN: ")
        };
        match messages.iter().position(is_fault) {
            None => Ok(()),
            Some(first) => {
                let report: Vec<_> = messages.into_iter().skip(first).take(60).collect();
                bail!("the kernel log reports a fault:\n{}", report.join("\n"))
            }
        }
    }
}
