// SPDX-License-Identifier: GPL-2.0-only
//! Checking that a store holds what images need.

use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};

use anyhow::{anyhow, Context, Result};
use composefs_format::Digest;
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::fsverity::Hasher;
use crate::info::objects::{relative, Needed};
use crate::read;
use crate::verity;

/// Checks every object, and prints a line for each fault.
///
/// # Errors
/// If there is a fault, or writing fails.
pub fn run(objects: &Needed, basedir: &OwnedFd, out: &mut dyn Write) -> Result<()> {
    let mut faults = 0_u64;
    let mut total = 0_u64;
    for (object, digests) in objects.iter() {
        for digest in digests {
            total += 1;
            if let Err(fault) = check(object, digest.as_ref(), basedir) {
                faults += 1;
                out.write_all(object).context("cannot write")?;
                writeln!(out, ": {fault:#}").context("cannot write")?;
            }
        }
    }
    if faults == 0 {
        return Ok(());
    }
    out.flush().context("cannot write")?;
    Err(anyhow!(
        "{faults} of {total} objects are not as they should be"
    ))
}

fn check(object: &[u8], digest: Option<&Digest>, basedir: &OwnedFd) -> Result<()> {
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
    if let Some(found) = verity::measure(file.as_fd(), digest.algorithm())? {
        return expect(digest, &found);
    }
    let found = read::hash(&file, &mut Hasher::new(digest.algorithm()))?;
    expect(digest, &found)?;
    Err(anyhow!("fs-verity is not enabled"))
}

fn expect(want: &Digest, found: &Digest) -> Result<()> {
    if want == found {
        return Ok(());
    }
    Err(anyhow!("wrong digest {found}"))
}
