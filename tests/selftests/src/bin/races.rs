// SPDX-License-Identifier: GPL-2.0-only
//! Pairs of tasks that do the same to the same tree, as fast as they can, one thing at a time: for a
//! kernel that looks for races, which are noticed only where two come by at once. A third drops caches
//! now and then, so that what is made at the first use is made again.
//!
//! usage: `races [SECONDS]`, for each thing
#![forbid(unsafe_code)]

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{ensure, Context as _, Result};
use composefs_selftests::attributes::xattrs;
use composefs_selftests::basic_tree::{self, content};
use composefs_selftests::image::Image;
use composefs_selftests::memory;
use composefs_selftests::mount::Mount;
use composefs_selftests::setup;
use composefs_selftests::tap::{self, note, Case};
use composefs_selftests::tasks;
use mmap_io::MemoryMappedFile;
use rustix::fs::{statfs, statx, AtFlags, StatxFlags, CWD};

struct Context {
    image: Image,
    mount: Option<Mount>,
    root: PathBuf,
    duration: Duration,
}

fn set_up() -> Result<Context> {
    setup::require_driver()?;
    setup::load_module()?;
    let work = setup::work_directory("races")?;
    let image = basic_tree::build_image(&work)?;
    let mount = image.request().at(&work.join("mount"))?;
    let seconds = std::env::args().nth(1).map_or(Ok(2), |text| text.parse());
    Ok(Context {
        image,
        root: mount.root().to_owned(),
        mount: Some(mount),
        duration: Duration::from_secs(seconds.context("usage: races [SECONDS]")?),
    })
}

/// Two tasks do `what`, each with its number, until time is up.
fn pair(context: &Context, what: impl Fn(&Context, u64) -> Result<()> + Sync) -> Result<()> {
    let end = Instant::now() + context.duration;
    let count = AtomicU64::new(0);
    let again = |number| -> Result<()> {
        while Instant::now() < end {
            what(context, number)?;
            count.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    };
    std::thread::scope(|scope| -> Result<()> {
        let again = &again;
        let tasks = [1, 2].map(|number| scope.spawn(move || again(number)));
        while Instant::now() < end {
            std::thread::sleep(Duration::from_millis(100));
            fs::write("/proc/sys/vm/drop_caches", "2")?;
        }
        for task in tasks {
            tasks::join(task)?;
        }
        Ok(())
    })?;
    note(format_args!("{} times", count.into_inner()));
    Ok(())
}

const NAMES: [&str; 4] = ["empty", "inline-64", "external-65", "external-65537"];

fn attributes(context: &mut Context) -> Result<()> {
    pair(context, |context, _| {
        for name in NAMES {
            let (path, flags) = (context.root.join(name), AtFlags::empty());
            let found = statx(CWD, &path, flags, StatxFlags::BASIC_STATS)?;
            ensure!(found.stx_size == content(name).len() as u64, "{name}");
        }
        Ok(())
    })
}

fn names(context: &mut Context) -> Result<()> {
    pair(context, |context, _| {
        ensure!(!context.root.join("nothing").exists(), "nothing is there");
        ensure!(context.root.join("directory/deeper").is_dir(), "deeper");
        ensure!(fs::read_dir(&context.root)?.count() == 13, "entries");
        ensure!(fs::read_link(context.root.join("dangling"))? == PathBuf::from("nowhere"));
        Ok(())
    })
}

fn extended_attributes(context: &mut Context) -> Result<()> {
    pair(context, |context, _| {
        for name in NAMES {
            ensure!(xattrs(&context.root.join(name))?.is_empty(), "{name}");
        }
        Ok(())
    })
}

fn first_opens(context: &mut Context) -> Result<()> {
    pair(context, |context, _| {
        for name in NAMES {
            ensure!(
                fs::read(context.root.join(name))? == content(name),
                "{name}"
            );
        }
        Ok(())
    })
}

fn mappings(context: &mut Context) -> Result<()> {
    pair(context, |context, _| {
        for name in ["inline-64", "external-65537"] {
            let mapped = MemoryMappedFile::open_ro(context.root.join(name))?;
            let expected = content(name);
            let found = mapped.as_slice(0, expected.len() as u64)?;
            ensure!(found.as_ref() == expected, "{name}");
        }
        Ok(())
    })
}

fn superblock(context: &mut Context) -> Result<()> {
    pair(context, |context, _| {
        ensure!(statfs(&context.root)?.f_bsize == 4096, "block size");
        let mounts = fs::read_to_string("/proc/self/mountinfo")?;
        ensure!(mounts.contains(" - composefs "), "{mounts}");
        Ok(())
    })
}

fn mounts(context: &mut Context) -> Result<()> {
    pair(context, |context, number| {
        let target = context.root.with_file_name(format!("mount-{number}"));
        let mount = context.image.request().at(&target)?;
        let file = File::open(mount.join("external-4097"))?;
        mount.detach()?;
        ensure!(file.metadata()?.len() == 4097, "external-4097");
        Ok(())
    })
}

fn nothing_left(context: &mut Context) -> Result<()> {
    if let Some(mount) = context.mount.take() {
        mount.unmount()?;
    }
    memory::no_inodes()
}

const CASES: &[Case<Context>] = &[
    ("attributes of the same files", attributes),
    ("names in the same directories", names),
    ("extended attributes of the same files", extended_attributes),
    ("the same files opened and read", first_opens),
    ("the same files mapped", mappings),
    ("the same mount shown", superblock),
    ("the same image mounted", mounts),
    ("nothing is left", nothing_left),
];

fn main() -> ExitCode {
    tap::run(set_up, CASES)
}
