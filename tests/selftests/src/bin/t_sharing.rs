// SPDX-License-Identifier: GPL-2.0-only
//! Two images with objects in common have them once in memory.
#![forbid(unsafe_code)]

use std::fs;
use std::io::IoSliceMut;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{bail, ensure, Context as _, Result};
use composefs_fuzz::random::Random;
use composefs_selftests::image::build_into;
use composefs_selftests::mount::Mount;
use composefs_selftests::setup;
use composefs_selftests::tap::{self, Case, Skip};
use mmap_io::MemoryMappedFile;
use rustix::fs::{fadvise, Advice};
use rustix::io::{preadv2, Errno, ReadWriteFlags};

const SIZE: usize = 8 << 20;
const PAGES: u64 = SIZE as u64 / 4096;

struct Context {
    first: Mount,
    second: Mount,
    content: Vec<u8>,
    object: std::path::PathBuf,
}

fn set_up() -> Result<Context> {
    setup::load_module()?;
    let work = setup::work_directory("sharing")?;
    let content = Random::new(4).bytes(SIZE);
    let store = work.join("store");
    let mut mounts = Vec::new();
    let mut object = None;
    for (name, path) in [("first", "a"), ("second", "some/other/name")] {
        let source = work.join(name).join("source");
        let file = source.join(path);
        setup::create_dir(file.parent().context("parent")?)?;
        fs::write(&file, &content)?;
        fs::write(source.join("own"), name.repeat(100))?;
        let tool = setup::mkcomposefs();
        let image = build_into(&tool, &source, &work.join(name), &store, &[])?;
        mounts.push(image.request().at(&work.join(name).join("mount"))?);
        object = Some(image.object(&content));
    }
    let mut mounts = mounts.into_iter();
    Ok(Context {
        first: mounts.next().context("first")?,
        second: mounts.next().context("second")?,
        content,
        object: object.context("object")?,
    })
}

/// How many of these pages of the object are in memory: those that can be read without waiting for
/// a disk. To ask for one that is not has it read, hence `pages`.
fn cached_pages(object: &Path, pages: impl Iterator<Item = u64>) -> Result<u64> {
    let file = fs::File::open(object).with_context(|| object.display().to_string())?;
    // No readahead: asking for one page is not to bring in others.
    fadvise(&file, 0, None, Advice::Random)?;
    let mut cached = 0;
    for page in pages {
        let mut bytes = [0; 4096];
        let mut slices = [IoSliceMut::new(&mut bytes)];
        match preadv2(&file, &mut slices, page * 4096, ReadWriteFlags::NOWAIT) {
            Ok(4096) => cached += 1,
            Ok(length) => bail!("page {page}: {length} bytes"),
            Err(Errno::AGAIN) => {}
            Err(error) => return Err(error).context("preadv2"),
        }
    }
    Ok(cached)
}

fn expect_all_cached(object: &Path) -> Result<()> {
    let cached = cached_pages(object, 0..PAGES)?;
    ensure!(
        cached == PAGES,
        "{cached} of {PAGES} pages of the object are cached"
    );
    Ok(())
}

/// Bytes that this process has had read from disks.
fn disk_reads() -> Result<u64> {
    const FILE: &str = "/proc/self/io";
    if !Path::new(FILE).exists() {
        return Err(Skip("the kernel does not count I/O by task".into()).into());
    }
    let io = fs::read_to_string(FILE).context(FILE)?;
    let line = io
        .lines()
        .find_map(|line| line.strip_prefix("read_bytes: "));
    Ok(line.context("read_bytes")?.parse()?)
}

fn one_object(context: &mut Context) -> Result<()> {
    ensure!(context.object.exists(), "{}", context.object.display());
    setup::drop_caches()?;
    let cached = cached_pages(&context.object, (0..PAGES).step_by(64))?;
    // A fast disk can answer at once.
    let limit = PAGES / 64 / 2;
    ensure!(
        cached < limit,
        "{cached} pages are cached after all were dropped"
    );
    Ok(())
}

fn fill(context: &mut Context) -> Result<()> {
    setup::drop_caches()?;
    let before = disk_reads()?;
    let read = fs::read(context.first.join("a"))?;
    ensure!(read == context.content, "content differs");
    expect_all_cached(&context.object)?;
    // Without this, "no disk reads" below would prove nothing.
    let bytes = disk_reads()? - before;
    ensure!(
        bytes >= SIZE as u64,
        "only {bytes} bytes came from the disk"
    );
    Ok(())
}

fn reuse(context: &mut Context) -> Result<()> {
    let file = context.second.join("some/other/name");
    // Opening reads metadata of the second image and of the object; only the content counts here.
    let opened = fs::File::open(&file)?;
    let before = disk_reads()?;
    let read = fs::read(&file)?;
    let bytes = disk_reads()? - before;
    drop(opened);
    ensure!(read == context.content, "content differs");
    ensure!(bytes == 0, "{bytes} bytes came from the disk");
    expect_all_cached(&context.object)?;
    Ok(())
}

fn map(context: &mut Context) -> Result<()> {
    let before = disk_reads()?;
    for file in [
        context.first.join("a"),
        context.second.join("some/other/name"),
    ] {
        let mapping = MemoryMappedFile::open_ro(&file)?;
        let bytes = mapping.as_slice(0, SIZE as u64)?;
        ensure!(bytes.as_ref() == context.content, "content differs");
    }
    let bytes = disk_reads()? - before;
    ensure!(bytes == 0, "{bytes} bytes came from the disk");
    Ok(())
}

/// Reading and mapping through both images grows the page cache by one copy, not by two.
fn no_copy(context: &mut Context) -> Result<()> {
    setup::drop_caches()?;
    let before = page_cache_kib()?;
    for file in [
        context.first.join("a"),
        context.second.join("some/other/name"),
    ] {
        ensure!(fs::read(&file)? == context.content, "content differs");
        let mapping = MemoryMappedFile::open_ro(&file)?;
        let bytes = mapping.as_slice(0, SIZE as u64)?;
        ensure!(bytes.as_ref() == context.content, "content differs");
    }
    let growth = page_cache_kib()?.saturating_sub(before);
    let one = SIZE as u64 / 1024;
    // The rest of the system lets go of some pages, and takes some, meanwhile.
    ensure!(
        (one * 3 / 4..one * 3 / 2).contains(&growth),
        "the page cache grew by {growth} KiB for a file of {one} KiB"
    );
    Ok(())
}

fn page_cache_kib() -> Result<u64> {
    let memory = fs::read_to_string("/proc/meminfo").context("/proc/meminfo")?;
    let line = memory.lines().find_map(|line| line.strip_prefix("Cached:"));
    let value = line.context("Cached")?.trim().trim_end_matches(" kB");
    Ok(value.parse()?)
}

const CASES: &[Case<Context>] = &[
    ("the store has one object, and it is not cached", one_object),
    ("reading through the first image caches the object", fill),
    ("reading through the second image reads no disk", reuse),
    ("mapping through either image reads no disk", map),
    ("there is no second copy", no_copy),
];

fn main() -> ExitCode {
    tap::run(set_up, CASES)
}
