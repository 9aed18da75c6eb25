// SPDX-License-Identifier: GPL-2.0-only
//! What stat(2) says that is in no image.
#![forbid(unsafe_code)]

use std::ffi::OsStr;
use std::fs::{self, Metadata};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::process::ExitCode;

use anyhow::{ensure, Context as _, Result};
use composefs_selftests::image::build;
use composefs_selftests::mount::Mount;
use composefs_selftests::tap::{self, Case};
use composefs_selftests::tree::{self, Tree};
use composefs_selftests::{odd_tree, setup};

struct Context {
    expected: Tree,
    mount: Mount,
}

fn set_up() -> Result<Context> {
    setup::require_driver()?;
    setup::load_module()?;
    let work = setup::work_directory("stat")?;
    let source = work.join("source");
    odd_tree::create(&source)?;
    let expected = tree::read(&source)?;
    let image = build(&setup::mkcomposefs(), &source, &work, &[])?;
    let mount = image.request().at(&work.join("mount"))?;
    Ok(Context { expected, mount })
}

impl Context {
    fn each(&self, check: impl Fn(&Metadata) -> Result<()>) -> Result<()> {
        for path in self.expected.keys() {
            let path = self.mount.join(OsStr::from_bytes(path));
            let metadata = fs::symlink_metadata(&path);
            let checked = metadata.map_err(Into::into).and_then(|data| check(&data));
            checked.with_context(|| path.display().to_string())?;
        }
        Ok(())
    }
}

/// As many as the content would take up if it were in the image, for du(1) and for cp(1), which takes
/// a file with fewer for one with holes.
fn blocks(context: &mut Context) -> Result<()> {
    context.each(|data| {
        let is_device = data.file_type().is_block_device();
        ensure!(is_device || data.blksize() == 4096, "{}", data.blksize());
        let expected = data.size().div_ceil(4096) * 8;
        ensure!(data.blocks() == expected, "{} blocks", data.blocks());
        Ok(())
    })
}

/// An image has one time of each file, which is all of them.
fn times(context: &mut Context) -> Result<()> {
    context.each(|data| {
        let modified = (data.mtime(), data.mtime_nsec());
        let changed = (data.ctime(), data.ctime_nsec());
        let accessed = (data.atime(), data.atime_nsec());
        ensure!(changed == modified, "changed at {changed:?}");
        ensure!(accessed == modified, "accessed at {accessed:?}");
        Ok(())
    })
}

const CASES: &[Case<Context>] = &[("blocks", blocks), ("times", times)];

fn main() -> ExitCode {
    tap::run(set_up, CASES)
}
