// SPDX-License-Identifier: GPL-2.0-only
//! Positions in a directory: they survive lseek, dropped caches and buffers of any size.
#![forbid(unsafe_code)]

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::process::ExitCode;

use anyhow::{bail, ensure, Context as _, Result};
use composefs_fuzz::random::Random;
use composefs_selftests::image::build;
use composefs_selftests::mount::Mount;
use composefs_selftests::odd_tree::MANY;
use composefs_selftests::tap::{self, Case};
use composefs_selftests::{odd_tree, setup};
use rustix::fs::{open, FileType, Mode, OFlags, RawDir, SeekFrom};
use rustix::io::Errno;

/// As getdents returns it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    name: Vec<u8>,
    inode: u64,
    kind: FileType,
    /// The position after this entry.
    next: u64,
}

struct Context {
    mount: Mount,
    source: std::path::PathBuf,
    entries: Vec<Entry>,
}

const DIRECTORY: &str = "directories/many";

impl Context {
    fn open(&self, directory: &str) -> Result<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(open(self.mount.join(directory), flags, Mode::empty())?)
    }
}

/// Up to `limit` entries from where the directory is positioned, with this much room for each call.
fn list(directory: &OwnedFd, room: usize, limit: usize) -> Result<Vec<Entry>> {
    let mut buffer = vec![MaybeUninit::uninit(); room];
    let mut dir = RawDir::new(directory, &mut buffer);
    let mut entries = Vec::new();
    while entries.len() < limit {
        let Some(entry) = dir.next() else { break };
        let entry = entry?;
        entries.push(Entry {
            name: entry.file_name().to_bytes().to_vec(),
            inode: entry.ino(),
            kind: entry.file_type(),
            next: entry.next_entry_cookie(),
        });
    }
    Ok(entries)
}

fn set_up() -> Result<Context> {
    setup::load_module()?;
    let work = setup::work_directory("readdir")?;
    let source = work.join("source");
    odd_tree::create(&source)?;
    let image = build(&setup::mkcomposefs(), &source, &work, &[])?;
    let mount = image.request().at(&work.join("mount"))?;
    let mut context = Context {
        mount,
        source,
        entries: Vec::new(),
    };
    let directory = context.open(DIRECTORY)?;
    context.entries = list(&directory, 1 << 16, usize::MAX)?;
    Ok(context)
}

fn complete(context: &mut Context) -> Result<()> {
    let names: BTreeSet<_> = context.entries.iter().map(|e| e.name.clone()).collect();
    ensure!(
        names.len() == context.entries.len(),
        "a name is listed twice"
    );
    ensure!(
        names.len() == MANY + 2,
        "{} names, expected {}",
        names.len(),
        MANY + 2
    );
    for name in [b".".as_slice(), b".."] {
        ensure!(names.contains(name), "{} is missing", name.escape_ascii());
    }
    for item in fs::read_dir(context.source.join(DIRECTORY))? {
        let name = item?.file_name().into_encoded_bytes();
        ensure!(names.contains(&name), "{} is missing", name.escape_ascii());
    }
    Ok(())
}

/// Inode numbers and types in every directory are those that stat shows.
fn entries_match_stat(context: &mut Context) -> Result<()> {
    setup::require_driver()?;
    for name in [
        "special",
        "hard-links",
        "symlinks",
        "directories",
        ".",
        DIRECTORY,
    ] {
        let path = context.mount.join(name);
        for entry in list(&context.open(name)?, 1 << 16, usize::MAX)? {
            let file = String::from_utf8(entry.name.clone())?;
            if (name, file.as_str()) == (".", "..") {
                // Stat of it leads out of the mount.
                continue;
            }
            let stat = fs::symlink_metadata(path.join(&file))?;
            ensure!(stat.ino() == entry.inode, "{name}/{file}: inode number");
            let kind = FileType::from_raw_mode(stat.mode());
            ensure!(kind == entry.kind, "{name}/{file}: {:?}", entry.kind);
        }
    }
    Ok(())
}

fn small_buffers(context: &mut Context) -> Result<()> {
    // Room for one entry of the longest name here, for a few, and for about a block's.
    for room in [128, 300, 1000, 5000] {
        let entries = list(&context.open(DIRECTORY)?, room, usize::MAX)?;
        ensure!(
            entries == context.entries,
            "it differs with a buffer of {room} bytes"
        );
    }
    Ok(())
}

fn too_small_buffer(context: &mut Context) -> Result<()> {
    let directory = context.open("names")?;
    // Smaller than any entry: an error, not an end.
    let mut buffer = [MaybeUninit::uninit(); 16];
    let mut dir = RawDir::new(&directory, &mut buffer);
    match dir.next() {
        Some(Err(Errno::INVAL)) => Ok(()),
        Some(Err(error)) => bail!("{error}, expected EINVAL"),
        Some(Ok(entry)) => bail!("an entry: {:?}", entry.file_name()),
        None => bail!("the end"),
    }
}

/// From every position, in an order that is not the directory's, the next entry is the right one;
/// with the caches dropped now and then, and in a directory opened anew.
fn seek(context: &mut Context) -> Result<()> {
    let mut directory = context.open(DIRECTORY)?;
    let mut random = Random::new(20);
    for round in 0..600 {
        if round % 60 == 0 {
            setup::drop_caches()?;
            directory = context.open(DIRECTORY)?;
        }
        let index = random.index(context.entries.len());
        let position = context.entries[index].next;
        let reached = rustix::fs::seek(&directory, SeekFrom::Start(position))?;
        ensure!(reached == position, "lseek to {position} reached {reached}");
        let seen = list(&directory, 512, 3)?;
        let rest = &context.entries[index + 1..];
        let expected = &rest[..rest.len().min(3)];
        ensure!(
            seen == expected,
            "after {:?}: {seen:?}",
            context.entries[index]
        );
    }
    Ok(())
}

fn pause(context: &mut Context) -> Result<()> {
    // The caches go between two calls on one open directory.
    let directory = context.open(DIRECTORY)?;
    let mut entries = Vec::new();
    loop {
        // One call's worth: RawDir calls again only when its buffer is used up.
        let mut buffer = vec![MaybeUninit::uninit(); 24 * 1024];
        let mut dir = RawDir::new(&directory, &mut buffer);
        let before = entries.len();
        while let Some(entry) = dir.next() {
            let entry = entry?;
            entries.push(Entry {
                name: entry.file_name().to_bytes().to_vec(),
                inode: entry.ino(),
                kind: entry.file_type(),
                next: entry.next_entry_cookie(),
            });
            if dir.is_buffer_empty() {
                break;
            }
        }
        if entries.len() == before {
            break;
        }
        setup::drop_caches()?;
    }
    ensure!(entries == context.entries, "the listing differs");
    Ok(())
}

fn rewind(context: &mut Context) -> Result<()> {
    let directory = context.open(DIRECTORY)?;
    ensure!(list(&directory, 4096, 100)?.len() == 100, "the first 100");
    rustix::fs::seek(&directory, SeekFrom::Start(0))?;
    let again = list(&directory, 4096, usize::MAX)?;
    ensure!(again == context.entries, "it differs after the rewind");
    ensure!(
        list(&directory, 4096, 1)?.is_empty(),
        "there is more after the end"
    );
    let last = context.entries.last().context("no entries")?;
    rustix::fs::seek(&directory, SeekFrom::Start(last.next))?;
    ensure!(
        list(&directory, 4096, 1)?.is_empty(),
        "there is more after the last"
    );
    Ok(())
}

/// Positions that no entry has are answered with a part of the listing, or an error; not with
/// anything else.
fn invented_positions(context: &mut Context) -> Result<()> {
    setup::require_driver()?;
    let directory = context.open(DIRECTORY)?;
    let index: HashMap<_, _> = context
        .entries
        .iter()
        .enumerate()
        .map(|(index, entry)| (entry.name.clone(), index))
        .collect();
    let mut random = Random::new(21);
    let special = [
        1,
        11,
        13,
        4095,
        4096,
        1 << 20,
        1 << 31,
        1 << 32,
        (1 << 62) + 7,
        i64::MAX as u64,
    ];
    let last = context.entries.last().map_or(0, |entry| entry.next);
    let invented = (0..200).map(|_| random.below(last.min(1 << 40) + 1));
    for position in special.into_iter().chain(invented.collect::<Vec<_>>()) {
        if rustix::fs::seek(&directory, SeekFrom::Start(position)).is_err() {
            continue;
        }
        let Ok(seen) = list(&directory, 2048, 20) else {
            continue;
        };
        let Some(first) = seen.first() else { continue };
        let start = *index
            .get(&first.name)
            .with_context(|| format!("{} is new", first.name.escape_ascii()))?;
        let expected = &context.entries[start..(start + 20).min(context.entries.len())];
        ensure!(seen == expected, "from position {position}");
    }
    Ok(())
}

fn empty(context: &mut Context) -> Result<()> {
    let entries = list(&context.open("directories/empty")?, 4096, 10)?;
    let names: BTreeSet<_> = entries.iter().map(|e| e.name.as_slice()).collect();
    ensure!(
        names == BTreeSet::from([b".".as_slice(), b".."]),
        "{entries:?}"
    );
    Ok(())
}

fn lookup_all(context: &mut Context) -> Result<()> {
    setup::drop_caches()?;
    let path = context.mount.join(DIRECTORY);
    for entry in &context.entries {
        let name = String::from_utf8(entry.name.clone())?;
        fs::symlink_metadata(path.join(&name)).with_context(|| name.clone())?;
        for absent in [format!("{name}0"), format!("0{name}")] {
            let found = fs::symlink_metadata(path.join(&absent));
            ensure!(found.is_err() || name.starts_with('.'), "{absent} is there");
        }
    }
    Ok(())
}

const CASES: &[Case<Context>] = &[
    ("a large directory is listed completely", complete),
    (
        "inode numbers and types are those of stat",
        entries_match_stat,
    ),
    ("the listing is the same with small buffers", small_buffers),
    (
        "a buffer too small for an entry is an error",
        too_small_buffer,
    ),
    ("positions survive lseek and dropped caches", seek),
    ("an open directory survives dropped caches", pause),
    ("rewinding, and reading on at the end", rewind),
    ("invented positions do no harm", invented_positions),
    ("an empty directory", empty),
    (
        "every name listed is found, similar ones are not",
        lookup_all,
    ),
];

fn main() -> ExitCode {
    tap::run(set_up, CASES)
}
