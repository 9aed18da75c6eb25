// SPDX-License-Identifier: GPL-2.0-only
//! A user with very many mounts from composefs-mountd at the same time.
//!
//! usage: `t_mountd_many [MOUNTS]`
#![forbid(unsafe_code)]

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{ensure, Context as _, Result};
use composefs_selftests::image::{self, Image};
use composefs_selftests::mount_service::MountService;
use composefs_selftests::setup;
use composefs_selftests::tap::{self, note, Case};
use rustix::process::{getrlimit, setrlimit, Resource, Rlimit};

const USER: u32 = 1000;
const OTHER: u32 = 1001;
/// If nothing else is asked for: soon had, emulated.
const MOUNTS: u64 = 200;
/// What the service may keep in memory for a mount, in bytes.
const PER_MOUNT: u64 = 1024;
/// What it may have besides.
const BESIDES: u64 = 16 << 20;

struct Context {
    service: MountService,
    image: Image,
    mounts: u64,
}

fn set_up() -> Result<Context> {
    setup::require_driver()?;
    setup::load_module()?;
    let mounts = match std::env::args().nth(1) {
        None => MOUNTS,
        Some(number) => number.parse().context("usage: t_mountd_many [MOUNTS]")?,
    };
    // The user keeps each by a descriptor.
    let files = getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX);
    let files = Some(files.max(mounts.saturating_add(1024)));
    setrlimit(
        Resource::Nofile,
        Rlimit {
            current: files,
            maximum: files,
        },
    )?;
    let work = setup::work_directory("mountd-many")?;
    let source = work.join("source");
    setup::create_dir(&source)?;
    fs::write(source.join("mine"), "m".repeat(8192))?;
    let image = image::build(&setup::mkcomposefs(), &source, &work.join("image"), &[])?;
    let config = format!(
        "[grant]\ndigests = [\"{}\"]\n[limits]\nmounts = {}\nmounts-of-user = {mounts}\n",
        image.digest,
        mounts + 1
    );
    Ok(Context {
        service: MountService::start(&work.join("service"), &config)?,
        image,
        mounts,
    })
}

fn many(context: &mut Context) -> Result<()> {
    let Context { service, image, .. } = context;
    let script = include_str!("../../python/mountd_many.py");
    let count = context.mounts.to_string();
    let arguments = [&image.file, &image.store, Path::new(&count)];
    let mut user = service.start_call(USER, script, &arguments)?;
    user.expect_line("many")?;
    let most = service.peak_memory()?;
    note(format_args!(
        "{count} mounts; the service has had {most} bytes"
    ));
    ensure!(most < BESIDES + PER_MOUNT * context.mounts, "{most} bytes");
    // Another user still has what is theirs.
    let other = "
image, stores = read_only(argument[1]), [read_only(argument[2])]
os.close(granted(ask(image, stores, namespace())))
";
    service.call(OTHER, other, &[&image.file, &image.store])?;
    user.finish()?;
    service.expect_alive()
}

const CASES: &[Case<Context>] = &[("a user with very many mounts", many)];

fn main() -> ExitCode {
    tap::run(set_up, CASES)
}
