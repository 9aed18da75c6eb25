// SPDX-License-Identifier: GPL-2.0-only
//! Reading ahead what a profile says, before a program asks for it.

use std::os::unix::fs::FileExt;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use anyhow::{Context, Result};
use composefs_repository::profile::{Object, Profile};
use composefs_repository::Repository;
use composefs_tools::fsverity::Digest;
use composefs_tools::quote;
use rustix::fs::{fadvise, Advice};

/// Objects that are waited for at the same time.
const PARALLEL: usize = 32;
/// What is asked for at a time.
const PIECE: usize = 256 << 10;

/// Begins to read ahead what is noted of an image, in a process that ends by itself: nobody waits for
/// it. That it cannot be done is no reason not to go on.
pub fn start(repository: &Repository, name: &str, image: &Digest) {
    let begin = || -> Result<bool> {
        if repository.profile(image)?.is_none() {
            return Ok(false);
        }
        Command::new("/proc/self/exe")
            .arg0("composefs")
            .arg("--repo")
            .arg(repository.path())
            .args(["prefetch", "--", name])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // What is typed at a terminal is not for it.
            .process_group(0)
            .spawn()
            .context("/proc/self/exe")?;
        Ok(true)
    };
    let name = quote::bytes(name.as_bytes());
    match begin() {
        Ok(true) => {}
        Ok(false) => eprintln!("composefs: {name}: nothing is read ahead: it has no profile"),
        Err(error) => eprintln!("composefs: {name}: nothing is read ahead: {error:#}"),
    }
}

/// Reads ahead. What is not here is left out.
///
/// What is needed first comes first. To bring it into the order of the disk is left to the kernel,
/// which has all of it before it soon: in the order of the inodes, all of them looked up before, it was
/// as many requests, and what is needed first came later.
pub fn read(repository: &Repository, profile: &Profile) {
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..PARALLEL {
            scope.spawn(|| {
                let mut buffer = vec![0; PIECE];
                while let Some(object) = profile.objects.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let _ = read_object(repository, object, &mut buffer);
                }
            });
        }
    });
}

/// To open it takes what fs-verity has to say of it into memory as well.
fn read_object(repository: &Repository, object: &Object, buffer: &mut [u8]) -> Option<()> {
    let file = repository.open_object(&object.digest).ok()?;
    // Nothing but what is asked for, and that in requests as large as the disk takes: of advice to
    // read, the kernel takes no more than its own window.
    fadvise(&file, 0, None, Advice::Random).ok()?;
    for bytes in object.blocks.bytes() {
        let mut start = bytes.start;
        while start < bytes.end {
            let len = usize::try_from(bytes.end - start).unwrap_or(PIECE);
            let piece = buffer.get_mut(..len.min(PIECE))?;
            // Whoever needs the bytes hears what is wrong with them. The file may be shorter.
            let count = file.read_at(piece, start).ok().filter(|&count| count > 0)?;
            start += count as u64;
        }
    }
    Some(())
}
