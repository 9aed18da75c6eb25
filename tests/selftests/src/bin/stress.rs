// SPDX-License-Identifier: GPL-2.0-only
//! Everything at once, for as long as it is told to: mounts come and go, files are opened for the
//! first time by several tasks, read, mapped and executed, while caches are dropped, memory is
//! reclaimed, and someone tries to unload the module. What is read is right, each time.
//!
//! usage: `stress [SECONDS]`
#![forbid(unsafe_code)]

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Barrier;
use std::time::{Duration, Instant};

use anyhow::{bail, ensure, Context as _, Result};
use composefs_fuzz::random::Random;
use composefs_selftests::attributes::content_hash;
use composefs_selftests::basic_tree::{self, content};
use composefs_selftests::command;
use composefs_selftests::image::{build, Image};
use composefs_selftests::memory;
use composefs_selftests::setup;
use composefs_selftests::tap::{self, note, Case};
use composefs_selftests::tasks;
use composefs_selftests::tree::{self, Tree};
use mmap_io::MemoryMappedFile;
use rustix::io::Errno;
use rustix::mount::UnmountFlags;

struct Context {
    work: PathBuf,
    image: Image,
    expected: Tree,
    duration: Duration,
}

fn set_up() -> Result<Context> {
    setup::require_driver()?;
    setup::load_module()?;
    let work = setup::work_directory("stress")?;
    let source = work.join("source");
    basic_tree::create(&source)?;
    fs::copy("/usr/bin/true", source.join("program"))?;
    fs::set_permissions(source.join("program"), PermissionsExt::from_mode(0o755))?;
    let mut random = Random::new(70);
    for number in 0..300 {
        let directory = source.join(format!("many/{}", number % 7));
        setup::create_dir(&directory)?;
        let size = if number % 3 == 0 { 20 } else { 5000 };
        fs::write(directory.join(number.to_string()), random.bytes(size))?;
    }
    let seconds = std::env::args().nth(1).map_or(Ok(30), |text| text.parse());
    Ok(Context {
        expected: tree::read(&source)?,
        image: build(&setup::mkcomposefs(), &source, &work, &[])?,
        work,
        duration: Duration::from_secs(seconds.context("usage: stress [SECONDS]")?),
    })
}

/// What a task does again and again, with its number and what it may count.
type Task = fn(&Context, &Path, &mut Random) -> Result<()>;

const TASKS: [(&str, Task, usize); 7] = [
    ("files read and compared", read, 2),
    ("files mapped", map, 1),
    ("programs run", execute, 1),
    ("directories walked", walk, 1),
    ("trees mounted and unmounted", mount, 2),
    ("caches dropped and memory reclaimed", reclaim, 1),
    ("attempts to unload the module", unload, 1),
];

fn everything(context: &mut Context) -> Result<()> {
    let context = &*context;
    let shared = context.image.request().at(&context.work.join("mount"))?;
    let end = Instant::now() + context.duration;
    let counts: [AtomicUsize; TASKS.len()] = Default::default();

    std::thread::scope(|scope| -> Result<()> {
        let mut workers = Vec::new();
        for (index, (name, task, tasks)) in TASKS.iter().enumerate() {
            for number in 0..*tasks {
                let (count, root) = (&counts[index], shared.root());
                workers.push(scope.spawn(move || -> Result<()> {
                    let mut random = Random::new((index * 100 + number) as u64);
                    while Instant::now() < end || count.load(Ordering::Relaxed) == 0 {
                        task(context, root, &mut random).context(*name)?;
                        count.fetch_add(1, Ordering::Relaxed);
                    }
                    Ok(())
                }));
            }
        }
        for worker in workers {
            tasks::join(worker)?;
        }
        Ok(())
    })?;
    for ((name, ..), count) in TASKS.iter().zip(&counts) {
        note(format_args!("{} {name}", count.load(Ordering::Relaxed)));
    }
    let target = shared.root().to_owned();
    shared.forget();
    unmount(&target)
}

/// Some regular file of the tree, and what is in it.
fn some_file(context: &Context, root: &Path, random: &mut Random) -> Result<(PathBuf, u128)> {
    let files = context.expected.iter();
    let files: Vec<_> = files
        .filter_map(|(path, entry)| Some((path, entry.content?)))
        .collect();
    let (path, hash) = files[random.index(files.len())];
    Ok((root.join(OsStr::from_bytes(path)), hash))
}

fn read(context: &Context, root: &Path, random: &mut Random) -> Result<()> {
    let (path, expected) = some_file(context, root, random)?;
    let hash = content_hash(&path).with_context(|| path.display().to_string())?;
    ensure!(hash == expected, "{} differs", path.display());
    Ok(())
}

fn map(_: &Context, root: &Path, random: &mut Random) -> Result<()> {
    let names = ["external-65537", "external-1m", "directory/external-3m"];
    let name = names[random.below(3) as usize];
    let expected = content(name);
    let mapped = MemoryMappedFile::open_ro(root.join(name))?;
    let at = random.below(expected.len() as u64 - 4096);
    let mut found = [0; 4096];
    mapped.read_into(at, &mut found)?;
    ensure!(found[..] == expected[at as usize..][..4096], "{name}");
    Ok(())
}

fn execute(_: &Context, root: &Path, _: &mut Random) -> Result<()> {
    let status = Command::new(root.join("program")).status()?;
    ensure!(status.success(), "{status}");
    Ok(())
}

fn walk(context: &Context, root: &Path, _: &mut Random) -> Result<()> {
    let mut count = 0;
    let mut paths = vec![root.to_owned()];
    while let Some(path) = paths.pop() {
        count += 1;
        let metadata = fs::symlink_metadata(&path)?;
        if metadata.is_dir() {
            for item in fs::read_dir(&path)? {
                paths.push(item?.path());
            }
        } else if metadata.is_symlink() {
            fs::read_link(&path)?;
        }
    }
    ensure!(count == context.expected.len(), "{count} entries");
    Ok(())
}

fn mount(context: &Context, _: &Path, random: &mut Random) -> Result<()> {
    let target = context.work.join(format!("mount-{}", random.number()));
    let mount = context.image.request().at(&target)?;
    for _ in 0..random.below(8) {
        read(context, mount.root(), random)?;
    }
    // Sometimes with a file that is still open.
    if random.below(4) == 0 {
        let file = File::open(mount.join("external-4097"))?;
        mount.detach()?;
        let mut found = vec![0; 4097];
        file.read_exact_at(&mut found, 0)?;
        ensure!(found == content("external-4097"), "an open file differs");
    } else {
        mount.forget();
        unmount(&target)?;
    }
    fs::remove_dir(&target)?;
    Ok(())
}

/// Files that were just closed here may be open in a process that another task is about to run: it
/// has them until its program begins.
fn unmount(target: &Path) -> Result<()> {
    for _ in 0..10_000 {
        match rustix::mount::unmount(target, UnmountFlags::empty()) {
            Err(Errno::BUSY) => std::thread::yield_now(),
            result => return Ok(result?),
        }
    }
    bail!("{} stays busy", target.display())
}

fn reclaim(_: &Context, _: &Path, random: &mut Random) -> Result<()> {
    let what = random.below(4);
    if what > 0 {
        return Ok(fs::write("/proc/sys/vm/drop_caches", what.to_string())?);
    }
    // It may say that there was not that much to be had.
    let _ = fs::write(CGROUP.to_owned() + "/memory.reclaim", "16M");
    Ok(())
}

/// The group of this process, for reclaim as under its limit.
const CGROUP: &str = "/sys/fs/cgroup/stress";

fn limit_memory() -> Result<()> {
    fs::write("/sys/fs/cgroup/cgroup.subtree_control", "+memory").context("cgroup")?;
    setup::create_dir(Path::new(CGROUP))?;
    fs::write(format!("{CGROUP}/memory.high"), "192M")?;
    fs::write(format!("{CGROUP}/cgroup.procs"), "0")?;
    Ok(())
}

/// In vain, while anything is mounted.
fn unload(_: &Context, _: &Path, _: &mut Random) -> Result<()> {
    let removed = command::run("rmmod", ["composefs"]);
    ensure!(removed.is_err(), "the module was unloaded while in use");
    std::thread::sleep(Duration::from_millis(100));
    Ok(())
}

/// Several tasks are the first to open a file, again and again, while inodes are evicted: one backing
/// file is published, and all read through it.
fn first_opens(context: &mut Context) -> Result<()> {
    const TASKS: usize = 4;
    let end = Instant::now() + context.duration / 4;
    let expected = content("external-65537");
    let mut rounds = 0;
    while Instant::now() < end || rounds < 3 {
        let mount = context.image.request().at(&context.work.join("mount"))?;
        let path = mount.join("external-65537");
        for _ in 0..8 {
            let barrier = Barrier::new(TASKS + 1);
            std::thread::scope(|scope| -> Result<()> {
                let open = || -> Result<()> {
                    barrier.wait();
                    let file = File::open(&path)?;
                    let mut found = vec![0; expected.len()];
                    file.read_exact_at(&mut found, 0)?;
                    ensure!(found == expected, "content differs");
                    Ok(())
                };
                let workers: Vec<_> = (0..TASKS).map(|_| scope.spawn(open)).collect();
                barrier.wait();
                fs::write("/proc/sys/vm/drop_caches", "2")?;
                for worker in workers {
                    tasks::join(worker)?;
                }
                Ok(())
            })?;
            rounds += 1;
        }
        mount.unmount()?;
    }
    note(format_args!("{rounds} rounds of {TASKS} first opens"));
    Ok(())
}

fn under_stress(context: &mut Context) -> Result<()> {
    limit_memory()?;
    everything(context)
}

fn nothing_left(_: &mut Context) -> Result<()> {
    memory::no_inodes()?;
    memory::expect_no_leak()
}

const CASES: &[Case<Context>] = &[
    ("first opens of one file", first_opens),
    ("everything at once", under_stress),
    ("nothing is left", nothing_left),
];

fn main() -> ExitCode {
    tap::run(set_up, CASES)
}
