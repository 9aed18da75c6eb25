// SPDX-License-Identifier: GPL-2.0-only
//! A small tree whose contents are known, for the programs that test one thing each.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use anyhow::{bail, ensure, Context, Result};
use mmap_io::MemoryMappedFile;
use rustix::io::Errno;

use crate::image::{build, Image};
use crate::python;
use crate::setup;
use composefs_fuzz::random::Random;

/// Files with their sizes: empty, in the image (up to 64 bytes), and in the store, on both sides of
/// the page size, and large enough for several levels of Merkle tree and for readahead.
pub const FILES: [(&str, usize); 11] = [
    ("empty", 0),
    ("inline-1", 1),
    ("inline-64", 64),
    ("external-65", 65),
    ("external-4095", 4095),
    ("external-4096", 4096),
    ("external-4097", 4097),
    ("external-8192", 8192),
    ("external-65537", 65537),
    ("external-1m", (1 << 20) + 123),
    ("directory/external-3m", 3 << 20),
];

/// The content of one of [`FILES`]: a function of its name.
pub fn content(name: &str) -> Vec<u8> {
    let size = FILES
        .iter()
        .find(|(file, _)| *file == name)
        .map_or(0, |(_, size)| *size);
    let seed = name.bytes().fold(size as u64, |seed, byte| {
        seed.wrapping_mul(31).wrapping_add(byte.into())
    });
    Random::new(seed).bytes(size)
}

/// The file with this name in the tree at `root` cannot be opened: `EIO`.
pub fn expect_refusal(root: &Path, name: &str) -> Result<()> {
    match fs::File::open(root.join(name)) {
        Err(error) if Errno::from_io_error(&error) == Some(Errno::IO) => Ok(()),
        other => bail!("{name}: {other:?}, expected EIO"),
    }
}

/// The file with this name in the tree at `root` can be read and mapped, and is as it was written.
pub fn expect_content(root: &Path, name: &str) -> Result<()> {
    let path = root.join(name);
    let read = fs::read(&path).with_context(|| name.to_owned())?;
    ensure!(read == content(name), "content of {name} differs");
    if read.is_empty() {
        return Ok(());
    }
    let mapping = MemoryMappedFile::open_ro(&path).with_context(|| name.to_owned())?;
    let mapped = mapping.as_slice(0, read.len() as u64)?;
    ensure!(mapped.as_ref() == read, "mapping of {name} differs");
    let maps = fs::read_to_string("/proc/self/maps")?;
    let shown = path.to_string_lossy();
    ensure!(
        maps.lines().any(|line| line.ends_with(&*shown)),
        "no {shown} in /proc/self/maps:\n{maps}"
    );
    Ok(())
}

/// Calls `test` with the path and the content of each of `names` in the tree at `root`.
pub fn each(root: &Path, names: &[&str], test: impl Fn(&Path, &[u8]) -> Result<()>) -> Result<()> {
    for name in names {
        test(&root.join(name), &content(name)).with_context(|| (*name).to_owned())?;
    }
    Ok(())
}

/// Runs a script for each of `names`, with the path of the file and its size.
pub fn each_script(root: &Path, names: &[&str], script: &str) -> Result<()> {
    each(root, names, |path, content| {
        let size = content.len().to_string();
        python::run(script, &[path.as_os_str(), size.as_ref()]).map(drop)
    })
}

/// Writes the tree.
pub fn create(root: &Path) -> Result<()> {
    setup::create_dir(&root.join("directory/deeper"))?;
    for (name, _) in FILES {
        let path = root.join(name);
        fs::write(&path, content(name)).with_context(|| path.display().to_string())?;
    }
    symlink("external-4096", root.join("link")).context("link")?;
    symlink("nowhere", root.join("dangling")).context("dangling")
}

/// Writes the tree to `directory/source` and makes an image of it with the tool under test.
pub fn build_image(directory: &Path) -> Result<Image> {
    let source = directory.join("source");
    create(&source)?;
    build(&setup::mkcomposefs(), &source, directory, &[])
}
