// SPDX-License-Identifier: GPL-2.0-only
//! The caller's own image, made anew: the kernel reads nothing that the caller wrote.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::fd::{AsRawFd, BorrowedFd};

use anyhow::{ensure, Context, Result};
use composefs_format::{Algorithm, Digest};
use composefs_tools::contents::{self, visit, Filter, Opened};
use composefs_tools::version::VERSION_MAX_C;
use composefs_tools::{dump, fsverity, image, info};
use rustix::fs::{fcntl_add_seals, memfd_create, MemfdFlags, SealFlags};

/// How many times larger than an image its description may be: attributes that files share, and long
/// paths, are there again and again.
const GROWTH: u64 = 4;

/// A description that may not become longer than its limit.
struct Text {
    bytes: Vec<u8>,
    limit: u64,
}

impl Write for Text {
    fn write(&mut self, more: &[u8]) -> io::Result<usize> {
        if (self.bytes.len() + more.len()) as u64 > self.limit {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.bytes.extend_from_slice(more);
        Ok(more.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What the caller may attach to files; all else is for the kernel and root.
const KEPT: &[u8] = b"user.";

/// An image of the same tree, with one owner for everything, in memory.
///
/// # Errors
/// If it is larger than `limit` bytes, has not the digest that is expected, cannot be read, or is
/// damaged.
pub fn rebuild(given: BorrowedFd, expected: Option<&Digest>, limit: u64) -> Result<File> {
    // The caller can change it all the time.
    let mut copy = copy(given, limit)?;
    if let Some(expected) = expected {
        check(&mut copy, expected)?;
    }
    let given = contents::open_file(copy)?;
    let algorithm = algorithm(&given)?;
    let mut text = Text {
        bytes: Vec::new(),
        limit: limit.saturating_mul(GROWTH),
    };
    info::dump::print(&given, &Filter::none(), &mut text)?;
    let text = text.bytes;
    let options = dump::Options {
        algorithm,
        strict: true,
    };
    let mut tree = dump::read(&*text, &options).context("cannot be made anew")?;
    drop(text);
    for id in tree.ids() {
        let meta = tree.meta_mut(id);
        (meta.uid, meta.gid) = (0, 0);
        tree.retain_xattrs(id, |name| name.starts_with(KEPT));
    }
    let options = image::Options {
        min_version: 0,
        max_version: VERSION_MAX_C,
        digest: None,
    };
    // A collection of garbage finds what is mounted by this name.
    let name = expected.map_or_else(|| "image".into(), Digest::to_string);
    let mut made = in_memory(&name)?;
    image::write(tree, &options, Some(&mut made))?;
    sealed(&made)
}

fn in_memory(name: &str) -> io::Result<File> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING | MemfdFlags::NOEXEC_SEAL;
    Ok(memfd_create(name, flags)?.into())
}

fn copy(given: BorrowedFd, limit: u64) -> Result<File> {
    let mut given = File::from(given.try_clone_to_owned()?);
    given.rewind()?;
    let mut copy = in_memory("copy")?;
    let len = io::copy(&mut given.take(limit + 1), &mut copy).context("cannot be read")?;
    ensure!(
        len <= limit,
        "is larger than {limit} bytes, which is the most that is made anew"
    );
    Ok(copy)
}

fn check(file: &mut File, expected: &Digest) -> Result<()> {
    let mut content = Vec::new();
    file.rewind()?;
    file.read_to_end(&mut content)?;
    let digest = fsverity::digest_of(expected.algorithm(), &content);
    ensure!(
        digest == *expected,
        "image has the wrong digest: {digest}, expected {expected}"
    );
    Ok(())
}

/// That of the first digest.
fn algorithm(image: &Opened) -> Result<Algorithm> {
    let mut algorithm = None;
    visit(image, &Filter::none(), false, &mut |entry| {
        if let Some(digest) = &entry.record.digest {
            algorithm.get_or_insert(digest.algorithm());
        }
        Ok(())
    })?;
    Ok(algorithm.unwrap_or(Algorithm::Sha256))
}

/// The file, which cannot be written to any more, open for reading.
fn sealed(file: &File) -> Result<File> {
    let mut writer = file;
    writer.flush()?;
    let seals = SealFlags::WRITE | SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL;
    fcntl_add_seals(file, seals)?;
    Ok(File::open(format!("/proc/self/fd/{}", file.as_raw_fd()))?)
}
