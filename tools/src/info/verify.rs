// SPDX-License-Identifier: GPL-2.0-only
//! Checking that a store holds what images need.

use std::fs::File;
use std::io::Write;
use std::num::NonZeroUsize;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{anyhow, Context, Result};
use composefs_format::Digest;
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::dump::Escape;
use crate::info::objects::{relative, Needed};
use crate::measure;
use crate::progress::Progress;

/// An object, and the digest that an image gives for it.
type Need<'a> = (&'a [u8], Option<&'a Digest>);

/// Checks every object on all processors, and prints a line for each fault.
///
/// # Errors
/// If there is a fault, or writing fails.
pub fn run(objects: &Needed, basedir: &OwnedFd, out: &mut dyn Write) -> Result<()> {
    let needs: Vec<Need> = objects
        .iter()
        .flat_map(|(object, digests)| digests.iter().map(move |d| (object, d.as_ref())))
        .collect();
    let faults = check_all(&needs, basedir);
    for (number, fault) in &faults {
        let mut line = Vec::new();
        Escape::default().append(&mut line, needs[*number].0);
        line.extend_from_slice(format!(": {fault}\n").as_bytes());
        out.write_all(&line).context("cannot write")?;
    }
    if faults.is_empty() {
        return Ok(());
    }
    out.flush().context("cannot write")?;
    let (bad, total) = (faults.len(), needs.len());
    Err(anyhow!(
        "{bad} of {total} objects are not as they should be"
    ))
}

/// What is wrong, by number of the need and in that order.
fn check_all(needs: &[Need], basedir: &OwnedFd) -> Vec<(usize, String)> {
    let progress = Progress::new("verifying", Some(needs.len() as u64));
    let next = AtomicUsize::new(0);
    let work = || {
        let mut faults = Vec::new();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let Some(need) = needs.get(number) else {
                return faults;
            };
            if let Err(fault) = check(*need, basedir) {
                faults.push((number, format!("{fault:#}")));
            }
            progress.step();
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let mut faults = std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads)
            .filter_map(|_| std::thread::Builder::new().spawn_scoped(scope, work).ok())
            .collect();
        let mut faults = work();
        for other in others {
            match other.join() {
                Ok(more) => faults.extend(more),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        faults
    });
    faults.sort_unstable();
    faults
}

fn check((object, digest): Need, basedir: &OwnedFd) -> Result<()> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match rustix::fs::openat(basedir, relative(object), flags, Mode::empty()) {
        Ok(file) => File::from(file),
        Err(Errno::NOENT) => return Err(anyhow!("missing")),
        Err(Errno::LOOP) => return Err(anyhow!("a symbolic link")),
        Err(error) => return Err(error.into()),
    };
    let stat = rustix::fs::fstat(&file)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(anyhow!("not a regular file"));
    }
    let digest = digest.ok_or_else(|| anyhow!("the image gives no digest"))?;
    let found = measure::file(&file, digest.algorithm())?;
    if found.digest != *digest {
        return Err(anyhow!("wrong digest {}", found.digest));
    }
    if !found.has_verity {
        return Err(anyhow!("fs-verity is not enabled"));
    }
    Ok(())
}
