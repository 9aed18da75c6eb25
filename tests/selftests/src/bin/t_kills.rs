// SPDX-License-Identifier: GPL-2.0-only
//! Pulls, tags, removals and collections that are killed at random moments: whatever was killed, and
//! whenever, the repository is whole, every object with fs-verity.
//!
//! usage: `t_kills [COUNT]`
#![forbid(unsafe_code)]

use std::process::{ExitCode, Stdio};
use std::time::Instant;

use anyhow::{ensure, Context as _, Result};
use composefs_fuzz::random::Random;
use composefs_selftests::pair::Context;
use composefs_selftests::tap::{self, note, Case};

fn set_up() -> Result<Context> {
    Context::set_up("kills", 12)
}

fn kills(context: &mut Context) -> Result<()> {
    let repository = &context.repository;
    let [(first, _), (second, _)] = &context.pair.images;
    // Each leaves what the next one needs, unless it is killed.
    let commands: [&[&str]; 6] = [
        &["pull", first, "first"],
        &["pull", second, "second"],
        &["tag", "first", "another"],
        &["rm", "first"],
        &["gc"],
        &["rm", "second"],
    ];
    let mut times = Vec::new();
    for arguments in commands {
        let begin = Instant::now();
        repository.run(arguments)?;
        times.push(begin.elapsed());
    }
    let mut random = Random::new(17);
    let (mut killed, mut most) = (0, 0);
    let count = usize::try_from(context.amount)?;
    for round in 0..count {
        let which = round % commands.len();
        // What was killed before may be what this one needs: then it fails.
        let mut child = repository
            .command(commands[which])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let share = random.below(1000) as u32;
        std::thread::sleep(times[which] * share / 1000);
        killed += usize::from(child.try_wait()?.is_none());
        // It may have come to its end.
        let _ = child.kill();
        child.wait()?;
        let said = repository
            .run(&["fsck", "--contents"])
            .with_context(|| format!("after {:?}, {share}/1000 of its time", commands[which]))?;
        let objects = said.split(' ').next().and_then(|count| count.parse().ok());
        most = most.max(objects.unwrap_or(0));
    }
    note(format_args!(
        "{killed} of {count} were killed, with up to {most} objects"
    ));
    ensure!(killed * 3 >= count, "hardly any was killed");
    ensure!(most > 20, "there was never much to be damaged");
    Ok(())
}

/// What was left is what can be gone on with.
fn whole(context: &mut Context) -> Result<()> {
    let repository = &context.repository;
    for (name, (from, tree)) in ["first", "second"].iter().zip(&context.pair.images) {
        repository.run(&["pull", from, name])?;
        let mount = repository.mount(name, &context.work.join("mount"), &[])?;
        context.pair.expect(tree, mount.root())?;
        mount.unmount()?;
        repository.run(&["rm", name])?;
    }
    // If it came to be.
    let _ = repository.run(&["untag", "another"]);
    repository.run(&["gc"])?;
    let left = repository.run(&["fsck"])?;
    ensure!(left.starts_with("0 objects, 0 streams, 0 images"), "{left}");
    Ok(())
}

const CASES: &[Case<Context>] = &[
    ("the repository is whole after each", kills),
    ("and nothing is left that gc does not collect", whole),
];

fn main() -> ExitCode {
    tap::run(set_up, CASES)
}
