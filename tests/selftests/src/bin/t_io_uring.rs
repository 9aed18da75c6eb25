// SPDX-License-Identifier: GPL-2.0-only
//! Reads by io_uring: of files in the store and in the image, from the disk and from the cache,
//! many at once.
#![forbid(unsafe_code)]

use std::ffi::OsStr;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use composefs_selftests::basic_tree;
use composefs_selftests::image::build;
use composefs_selftests::io_uring::RING;
use composefs_selftests::mount::Mount;
use composefs_selftests::python;
use composefs_selftests::setup;
use composefs_selftests::tap::{self, Case, Skip};

/// In the store, large and small, and in the image.
const FILES: [&str; 5] = [
    "external-1m",
    "external-4097",
    "external-65",
    "inline-64",
    "empty",
];

struct Context {
    mount: Mount,
    /// The tree that the image was made of, to compare with.
    source: std::path::PathBuf,
}

fn set_up() -> Result<Context> {
    setup::load_module()?;
    if python::run(&format!("{RING}Ring(4)"), &["", ""]).is_err() {
        return Err(Skip("the kernel has no io_uring, or does not let us use it".into()).into());
    }
    let work = setup::work_directory("io-uring")?;
    let source = work.join("source");
    basic_tree::create(&source)?;
    let image = build(&setup::mkcomposefs(), &source, &work, &[])?;
    let mount = image.request().at(&work.join("mount"))?;
    Ok(Context { mount, source })
}

/// What the scripts of [`each`] share.
const PREPARE: &str = include_str!("../../python/io_uring_prepare.py");

/// Runs a script on each of [`FILES`], with the expected content in `content`.
fn each(context: &Context, script: &str) -> Result<()> {
    for name in FILES {
        let script = format!("{RING}{PREPARE}{script}");
        let (path, source) = (context.mount.join(name), context.source.join(name));
        let arguments: [&OsStr; 2] = [path.as_ref(), source.as_ref()];
        python::run(&script, &arguments).context(name)?;
    }
    Ok(())
}

/// Pieces of odd sizes, all in flight together, in any order; past the end too.
fn read(context: &mut Context) -> Result<()> {
    each(context, include_str!("../../python/io_uring_read.py"))
}

fn read_vectors(context: &mut Context) -> Result<()> {
    each(context, include_str!("../../python/io_uring_vectors.py"))
}

/// Buffers and files that are registered with the ring, pinned for as long.
fn read_fixed(context: &mut Context) -> Result<()> {
    each(context, include_str!("../../python/io_uring_fixed.py"))
}

/// Into a pipe, with advice before it.
fn splice(context: &mut Context) -> Result<()> {
    each(context, include_str!("../../python/io_uring_splice.py"))
}

fn errors(context: &mut Context) -> Result<()> {
    let script = include_str!("../../python/io_uring_errors.py");
    let script = format!("{RING}{script}");
    python::run(&script, &[context.mount.root(), "".as_ref()]).map(drop)
}

const CASES: &[Case<Context>] = &[
    ("IORING_OP_READ", read),
    ("IORING_OP_READV", read_vectors),
    ("IORING_OP_READ_FIXED", read_fixed),
    ("IORING_OP_FADVISE and IORING_OP_SPLICE", splice),
    ("errors", errors),
];

fn main() -> ExitCode {
    tap::run(set_up, CASES)
}
