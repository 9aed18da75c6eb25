// SPDX-License-Identifier: GPL-2.0-only
//! Two pulls, a collection and a mount at once, again and again, for as long as it is told to: what
//! has a name or is mounted is there, whatever others do.
//!
//! usage: `t_at_once [SECONDS]`
#![forbid(unsafe_code)]

use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{ensure, Context as _, Result};
use composefs_selftests::pair::Context;
use composefs_selftests::setup;
use composefs_selftests::tap::{self, note, Case};
use composefs_selftests::tasks;

fn set_up() -> Result<Context> {
    Context::set_up("at-once", 15)
}

/// What is done again and again.
type Task = fn(&Context) -> Result<()>;

const TASKS: [(&str, Task); 5] = [
    ("pulls and removals of the first image", |c| pull(c, 0)),
    ("pulls and removals of the second image", |c| pull(c, 1)),
    ("collections", collect),
    ("mounts of what is tagged", mount),
    ("mounts of what loses its name", mount_and_remove),
];

const NAMES: [&str; 2] = ["first", "second"];

fn pull(context: &Context, which: usize) -> Result<()> {
    let (from, _) = &context.pair.images[which];
    let name = NAMES[which];
    context.repository.run(&["pull", from, name])?;
    let digest = context.repository.run(&["digest", name])?;
    let computed = context.repository.run(&["digest", "--compute", name])?;
    ensure!(digest == computed, "{digest}, not {computed}");
    context.repository.run(&["untag", name]).map(drop)
}

fn collect(context: &Context) -> Result<()> {
    context.repository.run(&["gc"])?;
    context.repository.run(&["fsck", "--contents"]).map(drop)
}

/// The image that keeps its name.
fn mount(context: &Context) -> Result<()> {
    let target = context.work.join("mount");
    let mount = context.repository.mount("kept", &target, &[])?;
    context
        .pair
        .expect(&context.pair.images[0].1, mount.root())?;
    mount.unmount()
}

/// One that is kept by nothing but the mount.
fn mount_and_remove(context: &Context) -> Result<()> {
    let (from, tree) = &context.pair.images[1];
    context.repository.run(&["pull", from, "brief"])?;
    let target = context.work.join("brief");
    let mount = context.repository.mount("brief", &target, &[])?;
    context.repository.run(&["untag", "brief"])?;
    context.repository.run(&["gc"])?;
    setup::drop_caches()?;
    context.pair.expect(tree, mount.root())?;
    mount.unmount()
}

fn everything(context: &mut Context) -> Result<()> {
    let context = &*context;
    let (from, _) = &context.pair.images[0];
    context.repository.run(&["pull", from, "kept"])?;
    let end = Instant::now() + Duration::from_secs(context.amount);
    let counts: [AtomicUsize; TASKS.len()] = Default::default();
    let failed = AtomicUsize::new(0);
    std::thread::scope(|scope| -> Result<()> {
        let mut workers = Vec::new();
        for ((name, task), count) in TASKS.iter().zip(&counts) {
            let failed = &failed;
            workers.push(scope.spawn(move || -> Result<()> {
                while Instant::now() < end && failed.load(Ordering::Relaxed) == 0 {
                    if let Err(error) = task(context) {
                        failed.fetch_add(1, Ordering::Relaxed);
                        return Err(error).context(*name);
                    }
                    count.fetch_add(1, Ordering::Relaxed);
                }
                Ok(())
            }));
        }
        for worker in workers {
            tasks::join(worker)?;
        }
        Ok(())
    })?;
    for ((name, _), count) in TASKS.iter().zip(&counts) {
        let count = count.load(Ordering::Relaxed);
        note(format_args!("{count} {name}"));
        ensure!(count > 0, "no {name}");
    }
    Ok(())
}

fn nothing_left(context: &mut Context) -> Result<()> {
    let repository = &context.repository;
    repository.run(&["fsck", "--contents"])?;
    repository.run(&["rm", "kept"])?;
    repository.run(&["gc"])?;
    let left = repository.run(&["fsck"])?;
    ensure!(left.starts_with("0 objects, 0 streams, 0 images"), "{left}");
    Ok(())
}

const CASES: &[Case<Context>] = &[
    ("what is named or mounted is there", everything),
    ("nothing is left", nothing_left),
];

fn main() -> ExitCode {
    tap::run(set_up, CASES)
}
