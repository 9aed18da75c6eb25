// SPDX-License-Identifier: GPL-2.0-only
//! Images that are mounted before their objects are here, where what they need fails: the store is
//! full, the network is cut, and objects go again and again.
//!
//! usage: `t_lazy_faults [SECONDS]`: for how long objects go and come
#![forbid(unsafe_code)]

use std::fs::{self, File};
use std::path::Path;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{ensure, Context as _, Result};
use composefs_fuzz::random::Random;
use composefs_selftests::disk::Disk;
use composefs_selftests::kernel_log;
use composefs_selftests::lazy_image::{evict, expect_only_objects, objects, LazyImage};
use composefs_selftests::repository::Repository;
use composefs_selftests::setup::drop_caches;
use composefs_selftests::tap::{self, note, Case};
use composefs_selftests::tasks;
use rustix::io::Errno;
use rustix::process::{kill_process, Pid, Signal};

/// If nothing else is asked for: soon done, emulated.
const SECONDS: u64 = 30;
/// How soon there is an error, or what failed is tried again.
const SOON: Duration = Duration::from_secs(30);
/// What the image and a few objects need, on a disk of their own.
const DISK: u64 = 16 << 20;
/// What the service's memory may grow by, once it has done everything a few times.
const GROWTH: u64 = 8 << 20;

struct Context {
    lazy: LazyImage,
    seconds: u64,
}

fn set_up() -> Result<Context> {
    let seconds = match std::env::args().nth(1) {
        None => SECONDS,
        Some(number) => number.parse().context("usage: t_lazy_faults [SECONDS]")?,
    };
    Ok(Context {
        lazy: LazyImage::new()?,
        seconds,
    })
}

/// Whoever opens a file for which there is no room hears of it at once; when there is room again,
/// it comes.
fn full(context: &mut LazyImage) -> Result<()> {
    let disk = Disk::create(&context.work, DISK)?;
    let server = context.server()?.address();
    let repository = context.repository_at(&disk.root().join("repository"), &[server])?;
    let mount = context.mount(&repository, &["--no-fill"])?;
    let (name, content) = context.first()?;
    let path = mount.join(name);
    let ballast = disk.root().join("ballast");
    fill(&ballast)?;
    let begin = Instant::now();
    kernel_log::of_failing_open(&path, Errno::IO)?;
    ensure!(begin.elapsed() < SOON, "{:?}", begin.elapsed());
    let journal = context.service.journal()?;
    ensure!(journal.contains("No space left on device"), "{journal}");
    ensure!(objects(&repository)? == 0, "{}", objects(&repository)?);
    // That was no fault of who has the objects.
    fs::remove_file(&ballast)?;
    ensure!(&fs::read(&path)? == content, "something else");
    context.expect_all(mount.root())?;
    repository.run(&["fsck", "--contents"])?;
    mount.unmount()?;
    context.service.expect_triggers(0)?;
    disk.unmount()
}

/// Takes all the room that there is.
fn fill(path: &Path) -> Result<()> {
    use std::io::Write as _;
    let mut file = File::create(path)?;
    for size in [1 << 20, 4096] {
        let block = vec![0x5a; size];
        while file
            .write_all(&block)
            .and_then(|()| file.sync_data())
            .is_ok()
        {}
    }
    Ok(())
}

/// Readers, and somebody who removes all objects, collects, cuts the network and kills the server,
/// at once. Where the network is cut, an open fails with the error of that; nothing else goes wrong.
fn again_and_again(context: &mut LazyImage, seconds: u64) -> Result<()> {
    let (repository, mount) = context.lazily()?;
    let mut random = Random::new(seconds);
    let end = Instant::now() + Duration::from_secs(seconds);
    let mut rounds = 0_u64;
    let mut before = None;
    while Instant::now() < end || rounds < 8 {
        let cut = rounds % 4 == 3;
        round(context, &repository, mount.root(), &mut random, cut)?;
        rounds += 1;
        // What is kept for later is there by then.
        if rounds == 4 {
            before = Some((context.service.memory()?, context.service.descriptors()?));
        }
    }
    let (memory, descriptors) = before.context("too few rounds")?;
    let grown = context.service.memory()?.saturating_sub(memory);
    note(format_args!("{rounds} rounds, {grown} bytes more"));
    ensure!(grown < GROWTH, "{memory} and {grown} more bytes");
    let now = context.service.descriptors()?;
    ensure!(now <= descriptors + 40, "{descriptors}, then {now}");
    evict(&repository, &context.image)?;
    drop_caches()?;
    context.expect_all(mount.root())?;
    mount.unmount()?;
    repository.run(&["fsck", "--contents"])?;
    context.service.expect_triggers(0)?;
    repository.run(&["gc"])?;
    expect_only_objects(&repository)
}

fn round(
    context: &mut LazyImage,
    repository: &Repository,
    root: &Path,
    random: &mut Random,
    cut: bool,
) -> Result<()> {
    evict(repository, &context.image)?;
    drop_caches()?;
    let server = if cut { context.server.take() } else { None };
    thread::scope(|scope| {
        let shared = &*context;
        let readers: Vec<_> = (0..4)
            .map(|_| scope.spawn(move || read_all(shared, root, cut)))
            .collect();
        thread::sleep(Duration::from_millis(random.below(300)));
        if random.below(2) == 0 {
            let process = Pid::from_raw(i32::try_from(shared.service.server()?)?);
            kill_process(process.context("no process")?, Signal::KILL)?;
        }
        if random.below(2) == 0 {
            repository.run(&["gc"])?;
        }
        // Nobody answers any more, in the midst of it.
        drop(server);
        for reader in readers {
            tasks::join(reader)?;
        }
        anyhow::Ok(())
    })?;
    if cut {
        context.start_server()?;
        let begin = Instant::now();
        while context.expect_all(root).is_err() {
            ensure!(begin.elapsed() < 3 * SOON, "it stays so");
            thread::sleep(Duration::from_millis(200));
        }
    }
    Ok(())
}

/// Each file is what it should be, or there is the error of one that cannot be had.
fn read_all(context: &LazyImage, root: &Path, may_fail: bool) -> Result<()> {
    for (name, content) in &context.files {
        match fs::read(root.join(name)) {
            Ok(read) => ensure!(&read == content, "{name} is something else"),
            Err(error) => {
                let is_due = may_fail && error.raw_os_error() == Some(Errno::IO.raw_os_error());
                ensure!(is_due, "{name}: {error}");
            }
        }
    }
    Ok(())
}

const CASES: &[Case<Context>] = &[
    ("a store that is full, until it is not", |c| {
        full(&mut c.lazy)
    }),
    (
        "objects go and come, beside kills, cuts and collections",
        |c| again_and_again(&mut c.lazy, c.seconds),
    ),
];

fn main() -> ExitCode {
    tap::run(set_up, CASES)
}
