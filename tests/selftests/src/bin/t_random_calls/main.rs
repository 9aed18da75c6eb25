// SPDX-License-Identifier: GPL-2.0-only
//! System calls at random, by several tasks, on mounts and on what is mounted meanwhile: whatever
//! anybody asks for, nothing is changed, and the kernel has nothing to say against it.
//!
//! usage: `t_random_calls [SECONDS [SEED]]`
#![forbid(unsafe_code)]

mod calls;
mod choices;
mod handles;
mod mounts;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use composefs_fuzz::random::Random;
use composefs_selftests::basic_tree;
use composefs_selftests::compare::{expect_equal, Links};
use composefs_selftests::image::{build, Image};
use composefs_selftests::mount::{Mount, Request};
use composefs_selftests::setup::{self, drop_caches};
use composefs_selftests::tap::{self, note, Case};
use composefs_selftests::tasks;
use composefs_selftests::tree::{self, Tree};

use calls::Caller;

/// If nothing else is asked for: soon done, emulated.
const SECONDS: u64 = 20;
const TASKS: u64 = 4;
/// How many calls follow one another before a task looks at the clock.
const TOGETHER: u64 = 200;

struct Context {
    work: PathBuf,
    image: Image,
    expected: Tree,
    duration: Duration,
    seed: u64,
}

fn set_up() -> Result<Context> {
    setup::require_driver()?;
    setup::load_module()?;
    let usage = "usage: t_random_calls [SECONDS [SEED]]";
    let mut numbers = std::env::args().skip(1).map(|text| text.parse::<u64>());
    let mut number = |default| numbers.next().unwrap_or(Ok(default)).context(usage);
    let (seconds, seed) = (number(SECONDS)?, number(1)?);
    let work = setup::work_directory("random-calls")?;
    let source = work.join("source");
    basic_tree::create(&source)?;
    for number in 0..40 {
        let directory = source.join(format!("many/{}", number % 5));
        setup::create_dir(&directory)?;
        fs::write(directory.join(number.to_string()), vec![b'x'; number * 300])?;
    }
    let image = build(&setup::mkcomposefs(), &source, &work, &[])?;
    let mount = image.request().at(&work.join("before"))?;
    let expected = tree::read(mount.root())?;
    mount.unmount()?;
    Ok(Context {
        work,
        image,
        expected,
        duration: Duration::from_secs(seconds),
        seed,
    })
}

/// The mounts that all tasks use: one that checks all it can, and one that checks nothing.
fn mounts(context: &Context) -> Result<[Mount; 2]> {
    let image = &context.image;
    let unchecked = Request::new(&image.file).basedir(&image.store);
    let unchecked = unchecked.set("verity", "off");
    Ok([
        image.request().at(&context.work.join("checked"))?,
        unchecked.at(&context.work.join("unchecked"))?,
    ])
}

fn at_random(context: &mut Context) -> Result<()> {
    let context = &*context;
    let mounts = mounts(context)?;
    let roots: Vec<&Path> = mounts.iter().map(Mount::root).collect();
    let names: Vec<&[u8]> = context.expected.keys().map(Vec::as_slice).collect();
    let end = Instant::now() + context.duration;
    let (done, taken) = (AtomicU64::new(0), AtomicU64::new(0));
    thread::scope(|scope| {
        let tasks: Vec<_> = (0..TASKS)
            .map(|task| {
                let (roots, names, done, taken) = (&roots, &names, &done, &taken);
                let random = Random::new(context.seed.wrapping_mul(1000).wrapping_add(task));
                let place = context.work.join(format!("task-{task}"));
                scope.spawn(move || -> Result<()> {
                    setup::create_dir(&place)?;
                    let image = &context.image;
                    let mut caller = Caller::new(roots, names, image, &place, random)?;
                    while Instant::now() < end || caller.done == 0 {
                        for _ in 0..TOGETHER {
                            caller.call()?;
                        }
                    }
                    done.fetch_add(caller.done, Ordering::Relaxed);
                    taken.fetch_add(caller.taken, Ordering::Relaxed);
                    caller.finish()
                })
            })
            .collect();
        for task in tasks {
            tasks::join(task)?;
        }
        anyhow::Ok(())
    })?;
    let (done, taken) = (done.into_inner(), taken.into_inner());
    note(format_args!(
        "seed {}: {done} calls, of which {taken} succeeded",
        context.seed
    ));
    drop_caches()?;
    for mount in &mounts {
        expect_equal(&context.expected, &tree::read(mount.root())?, Links::Files)?;
    }
    mounts.into_iter().try_for_each(Mount::unmount)
}

const CASES: &[Case<Context>] = &[("system calls at random change nothing", at_random)];

fn main() -> ExitCode {
    tap::run(set_up, CASES)
}
