// SPDX-License-Identifier: GPL-2.0-only
//! Uprobes on programs in the mount, by path, as perf, bpftrace and systemtap set them: before
//! anyone has opened the program.
#![forbid(unsafe_code)]

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{ensure, Result};
use composefs_selftests::image::{build, Image};
use composefs_selftests::kernel_log;
use composefs_selftests::mount::Mount;
use composefs_selftests::python;
use composefs_selftests::setup;
use composefs_selftests::tap::{self, Case};

const SCRIPT: &str = concat!(
    include_str!("../../python/tracefs.py"),
    include_str!("../../python/uprobes.py")
);
const PROGRAM: &str = "true";

struct Context {
    program: PathBuf,
    image: Image,
    mount: Mount,
}

fn set_up() -> Result<Context> {
    setup::load_module()?;
    let work = setup::work_directory("uprobes")?;
    let source = work.join("source");
    setup::create_dir(&source)?;
    let program = source.join(PROGRAM);
    fs::copy(fs::canonicalize("/bin/true")?, &program)?;
    let image = build(&setup::mkcomposefs(), &source, &work, &[])?;
    let mount = image.request().at(&work.join("mount"))?;
    Ok(Context {
        program,
        image,
        mount,
    })
}

impl Context {
    /// Nobody has the program open, nor does the driver, but its inode is cached.
    fn script(&self, case: &str) -> Result<()> {
        let path = self.mount.join(PROGRAM);
        setup::drop_caches()?;
        fs::metadata(&path)?;
        python::run(SCRIPT, &[case.as_ref(), &*path, &*self.program]).map(drop)
    }
}

fn by_tracefs(context: &mut Context) -> Result<()> {
    context.script("tracefs")
}

fn by_perf(context: &mut Context) -> Result<()> {
    context.script("perf")
}

/// There is nothing to set it on, which is for the log to explain.
fn missing(context: &mut Context) -> Result<()> {
    setup::require_driver()?;
    let object = context.image.object(&fs::read(&context.program)?);
    let aside = context.image.store.join("aside");
    fs::rename(&object, &aside)?;
    let messages = kernel_log::of_failure(|| context.script("missing"));
    fs::rename(&aside, &object)?;
    let messages = messages?;
    ensure!(
        messages.iter().any(|text| text.contains("in no basedir")),
        "the kernel log: {messages:?}"
    );
    context.script("tracefs")
}

const CASES: &[Case<Context>] = &[
    ("uprobe_events", by_tracefs),
    ("perf_event_open", by_perf),
    ("a program whose object is missing", missing),
];

fn main() -> ExitCode {
    tap::run(set_up, CASES)
}
