// SPDX-License-Identifier: GPL-2.0-only
//! Every way to read a file gives the same bytes.
#![forbid(unsafe_code)]

use std::fs::{self, File};
use std::io::{IoSliceMut, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{ensure, Context as _, Result};
use composefs_fuzz::random::Random;
use composefs_selftests::basic_tree::{self, FILES};
use composefs_selftests::mount::Mount;
use composefs_selftests::setup;
use composefs_selftests::tap::{self, Case};
use composefs_selftests::tasks;
use mmap_io::MemoryMappedFile;
use rustix::io::{preadv, readv, Errno};
use rustix::pipe::{fcntl_setpipe_size, pipe, splice, SpliceFlags};

struct Context {
    work: PathBuf,
    mount: Mount,
}

fn set_up() -> Result<Context> {
    setup::load_module()?;
    let work = setup::work_directory("read")?;
    let image = basic_tree::build_image(&work)?;
    let mount = image.request().at(&work.join("mount"))?;
    setup::drop_caches()?;
    Ok(Context { work, mount })
}

/// Tries something on every file of the tree, with its content at hand.
fn each(context: &Context, test: impl Fn(&Path, &[u8]) -> Result<()>) -> Result<()> {
    for (name, _) in FILES {
        let content = basic_tree::content(name);
        test(&context.mount.join(name), &content).context(name)?;
    }
    Ok(())
}

/// The part of `content` that a read of `length` bytes at `offset` must return.
fn part(content: &[u8], offset: u64, length: usize) -> &[u8] {
    let start = (offset as usize).min(content.len());
    let end = start.saturating_add(length).min(content.len());
    &content[start..end]
}

fn read_all(context: &mut Context) -> Result<()> {
    each(context, |path, content| {
        ensure!(fs::read(path)? == content, "read differs");
        Ok(())
    })
}

fn read_in_odd_pieces(context: &mut Context) -> Result<()> {
    each(context, |path, content| {
        let mut file = File::open(path)?;
        let mut random = Random::new(10);
        let mut offset = 0;
        loop {
            let mut buffer = vec![0; 1 + random.below(30_000) as usize];
            let length = file.read(&mut buffer)?;
            let expected = part(content, offset, buffer.len());
            ensure!(buffer.get(..length) == Some(expected), "at {offset}");
            if length == 0 {
                return Ok(());
            }
            offset += length as u64;
        }
    })
}

fn pread(context: &mut Context) -> Result<()> {
    each(context, |path, content| {
        let file = File::open(path)?;
        let mut random = Random::new(11);
        for _ in 0..40 {
            // Past the end too.
            let offset = random.below(content.len() as u64 + 10_000);
            let mut buffer = vec![0; random.below(10_000) as usize];
            let length = file.read_at(&mut buffer, offset)?;
            let expected = part(content, offset, buffer.len());
            ensure!(buffer.get(..length) == Some(expected), "at {offset}");
        }
        ensure!(
            file.read_at(&mut [0; 10], 1 << 40)? == 0,
            "far past the end"
        );
        Ok(())
    })
}

fn vectors(context: &mut Context) -> Result<()> {
    each(context, |path, content| {
        let mut file = File::open(path)?;
        for offset in [0, 1, 50, 4090, 60_000] {
            let (mut a, mut b, mut c) = ([0; 1], [0; 4096], [0; 77]);
            let mut read = |positioned: bool| -> Result<Vec<u8>> {
                let mut slices = [
                    IoSliceMut::new(&mut a),
                    IoSliceMut::new(&mut b),
                    IoSliceMut::new(&mut c),
                ];
                let length = if positioned {
                    preadv(&file, &mut slices, offset)?
                } else {
                    file.seek(SeekFrom::Start(offset))?;
                    readv(&file, &mut slices)?
                };
                let mut bytes = [a.as_slice(), b.as_slice(), c.as_slice()].concat();
                bytes.truncate(length);
                Ok(bytes)
            };
            let expected = part(content, offset, 1 + 4096 + 77);
            ensure!(read(true)? == expected, "preadv at {offset}");
            ensure!(read(false)? == expected, "readv at {offset}");
        }
        Ok(())
    })
}

fn seek(context: &mut Context) -> Result<()> {
    each(context, |path, content| {
        let mut file = File::open(path)?;
        let end = content.len() as u64;
        ensure!(file.seek(SeekFrom::End(0))? == end, "SEEK_END");
        ensure!(file.read(&mut [0; 16])? == 0, "read at the end");
        ensure!(
            file.seek(SeekFrom::Start(end + 5000))? == end + 5000,
            "past the end"
        );
        ensure!(file.read(&mut [0; 16])? == 0, "read past the end");
        ensure!(
            file.seek(SeekFrom::Current(-(end as i64) - 5001)).is_err(),
            "negative"
        );
        file.rewind()?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        ensure!(bytes == content, "after the rewind");
        Ok(())
    })
}

fn map_shared(context: &mut Context) -> Result<()> {
    each(context, |path, content| {
        if content.is_empty() {
            return Ok(());
        }
        let mapping = MemoryMappedFile::open_ro(path)?;
        let bytes = mapping.as_slice(0, content.len() as u64)?;
        ensure!(bytes.as_ref() == content, "mapping differs");
        Ok(())
    })
}

fn map_private(context: &mut Context) -> Result<()> {
    each(context, |path, content| {
        if content.is_empty() {
            return Ok(());
        }
        let mapping = MemoryMappedFile::open_cow_writable(path)?;
        let mut bytes = vec![0; content.len()];
        mapping.read_into(0, &mut bytes)?;
        ensure!(bytes == content, "mapping differs");
        // A write stays with the process.
        let last = content.len() as u64 - 1;
        mapping.update_region(last, b"!")?;
        let mut byte = [0];
        mapping.read_into(last, &mut byte)?;
        ensure!(byte == *b"!", "the write is not seen by its writer");
        ensure!(fs::read(path)? == content, "the write is seen by others");
        Ok(())
    })
}

/// A mapping and an open file keep working when caches are dropped, and keep the mount busy.
fn map_and_drop_caches(context: &mut Context) -> Result<()> {
    let name = "directory/external-3m";
    let content = basic_tree::content(name);
    let file = File::open(context.mount.join(name))?;
    let mapping = MemoryMappedFile::open_ro(context.mount.join(name))?;
    for offset in [0, 1 << 20, 2 << 20] {
        setup::drop_caches()?;
        let mut bytes = vec![0; 100_000];
        mapping.read_into(offset, &mut bytes)?;
        ensure!(
            bytes == part(&content, offset, 100_000),
            "mapping at {offset}"
        );
        setup::drop_caches()?;
        file.read_exact_at(&mut bytes, offset)?;
        ensure!(bytes == part(&content, offset, 100_000), "read at {offset}");
    }
    Ok(())
}

fn splice_to_pipe(context: &mut Context) -> Result<()> {
    each(context, |path, content| {
        let file = File::open(path)?;
        let (reader, writer) = pipe()?;
        fcntl_setpipe_size(&writer, 1 << 16)?;
        let mut reader = File::from(reader);
        let mut offset = 0;
        loop {
            let position = offset;
            let flags = SpliceFlags::empty();
            let length = splice(&file, Some(&mut offset), &writer, None, 50_000, flags)?;
            ensure!(
                offset == position + length as u64,
                "the offset did not follow"
            );
            let mut bytes = vec![0; length];
            reader.read_exact(&mut bytes)?;
            ensure!(bytes == part(content, position, length), "at {position}");
            if length == 0 {
                ensure!(position == content.len() as u64, "ended at {position}");
                return Ok(());
            }
        }
    })
}

fn sendfile(context: &mut Context) -> Result<()> {
    let copy = context.work.join("copy");
    each(context, |path, content| {
        let file = File::open(path)?;
        let out = File::create(&copy)?;
        while rustix::fs::sendfile(&out, &file, None, 1 << 20)? > 0 {}
        ensure!(fs::read(&copy)? == content, "sendfile differs");

        let out = File::create(&copy)?;
        let mut offset = 1;
        while rustix::fs::sendfile(&out, &file, Some(&mut offset), 3000)? > 0 {}
        ensure!(
            fs::read(&copy)? == part(content, 1, usize::MAX),
            "with an offset"
        );
        Ok(())
    })
}

fn copy_file_range(context: &mut Context) -> Result<()> {
    let copy = context.work.join("copy");
    each(context, |path, content| {
        // What std::fs::copy does: copy_file_range, and something else where that is refused.
        fs::copy(path, &copy)?;
        ensure!(fs::read(&copy)? == content, "copy differs");
        fs::remove_file(&copy)?;
        Ok(())
    })
}

fn advise(context: &mut Context) -> Result<()> {
    use rustix::fs::{fadvise, Advice};
    each(context, |path, content| {
        let file = File::open(path)?;
        for advice in [
            Advice::WillNeed,
            Advice::Random,
            Advice::Sequential,
            Advice::DontNeed,
        ] {
            fadvise(&file, 0, None, advice)?;
        }
        let mut bytes = vec![0; content.len()];
        file.read_exact_at(&mut bytes, 0)?;
        ensure!(bytes == content, "read differs after advice");
        Ok(())
    })
}

/// The first opens of a file by several threads at once: all of them succeed, none sees garbage.
fn race(context: &mut Context) -> Result<()> {
    let rounds = 10;
    for _ in 0..rounds {
        setup::drop_caches()?;
        each(context, |path, content| {
            let barrier = std::sync::Barrier::new(4);
            std::thread::scope(|scope| {
                let reader = || {
                    barrier.wait();
                    fs::read(path)
                };
                let readers: Vec<_> = (0..4).map(|_| scope.spawn(reader)).collect();
                for reader in readers {
                    ensure!(tasks::join(reader)? == content, "read differs");
                }
                Ok(())
            })
        })?;
    }
    Ok(())
}

fn not_files(context: &mut Context) -> Result<()> {
    let directory = File::open(context.mount.join("directory"))?;
    let error = rustix::io::read(&directory, &mut [0; 16]).err();
    ensure!(
        error == Some(Errno::ISDIR),
        "read of a directory: {error:?}"
    );
    let error = fs::read(context.mount.join("dangling")).err();
    let error = error.context("a dangling symlink was read")?;
    ensure!(error.kind() == std::io::ErrorKind::NotFound, "{error}");
    let through = fs::read(context.mount.join("link"))?;
    ensure!(
        through == basic_tree::content("external-4096"),
        "through the symlink"
    );
    Ok(())
}

fn busy(context: &mut Context) -> Result<()> {
    let file = File::open(context.mount.join("external-1m"))?;
    let root = context.mount.root();
    let error = rustix::mount::unmount(root, rustix::mount::UnmountFlags::empty()).err();
    drop(file);
    ensure!(
        error == Some(Errno::BUSY),
        "umount: {error:?}, expected EBUSY"
    );
    Ok(())
}

const CASES: &[Case<Context>] = &[
    ("read, whole files", read_all),
    ("read in pieces of odd sizes", read_in_odd_pieces),
    ("pread anywhere, and past the end", pread),
    ("readv and preadv", vectors),
    ("lseek", seek),
    ("mmap, shared and read-only", map_shared),
    ("mmap, private and written to", map_private),
    (
        "open files and mappings survive dropped caches",
        map_and_drop_caches,
    ),
    ("splice to a pipe", splice_to_pipe),
    ("sendfile to a file", sendfile),
    ("copy_file_range", copy_file_range),
    ("fadvise", advise),
    (
        "several threads open the same file for the first time",
        race,
    ),
    ("directories and symlinks are not read as files", not_files),
    ("an open file keeps the mount busy", busy),
];

fn main() -> ExitCode {
    tap::run(set_up, CASES)
}
