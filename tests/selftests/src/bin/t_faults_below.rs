// SPDX-License-Identifier: GPL-2.0-only
//! What is below fails or goes: the disk under the image, the disk under the objects, the store's
//! directory, its filesystem. The mount answers with errors meanwhile, and works again afterwards.
#![forbid(unsafe_code)]

use std::fs::{self, File};
use std::io::IoSliceMut;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{bail, ensure, Context as _, Result};
use composefs_selftests::basic_tree::{self, content};
use composefs_selftests::command::run;
use composefs_selftests::compare::{expect_equal, Links};
use composefs_selftests::failing_disk::FailingDisk;
use composefs_selftests::image::{build_into, Image};
use composefs_selftests::mount::{Mount, Request};
use composefs_selftests::tap::{self, Case};
use composefs_selftests::tree::{self, Tree};
use composefs_selftests::{memory, setup};
use rustix::io::{preadv2, Errno, ReadWriteFlags};

const DISK: u64 = 256 << 20;
const FILE: &str = "external-1m";

struct Context {
    work: PathBuf,
    source: PathBuf,
    expected: Tree,
}

fn set_up() -> Result<Context> {
    setup::require_driver()?;
    setup::load_module()?;
    let work = setup::work_directory("faults-below")?;
    let source = work.join("source");
    basic_tree::create(&source)?;
    Ok(Context {
        expected: tree::read(&source)?,
        work,
        source,
    })
}

impl Context {
    /// An image and a store, each in a directory of its own.
    fn image(&self, directory: &Path, store: &Path) -> Result<Image> {
        build_into(&setup::mkcomposefs(), &self.source, directory, store, &[])
    }

    fn mount(&self, image: &Image) -> Result<Mount> {
        Ok(image.request().at(&self.work.join("mount"))?)
    }

    fn works(&self, mount: &Mount) -> Result<()> {
        expect_equal(&self.expected, &tree::read(mount.root())?, Links::Ignore)
    }
}

/// Fails unless this failed with `EIO`.
fn expect_io<T>(what: &str, result: std::io::Result<T>) -> Result<()> {
    match result.err().and_then(|error| Errno::from_io_error(&error)) {
        Some(Errno::IO) => Ok(()),
        Some(errno) => bail!("{what}: {errno}, expected EIO"),
        None => bail!("{what}: works, expected EIO"),
    }
}

fn below_image(context: &mut Context) -> Result<()> {
    let disk = FailingDisk::create(&context.work, "images", DISK)?;
    let image = context.image(disk.root(), &context.work.join("store-1"))?;
    let mount = context.mount(&image)?;
    let open = File::open(mount.join(FILE))?;
    disk.fail()?;

    // The root is in memory, but not what is in it.
    fs::metadata(mount.root())?;
    expect_io("lookup", fs::metadata(mount.join("inline-64")))?;
    let listed = fs::read_dir(mount.root()).and_then(|list| list.collect::<Result<Vec<_>, _>>());
    expect_io("readdir", listed)?;
    let refusal = image.request().at(&context.work.join("second")).err();
    let errno = refusal.as_ref().map(|refusal| refusal.errno);
    ensure!(errno == Some(Errno::IO), "another mount: {refusal:?}");
    // The object is elsewhere.
    let mut read = vec![0; content(FILE).len()];
    open.read_exact_at(&mut read, 0)?;
    ensure!(read == content(FILE), "content differs");

    disk.repair()?;
    context.works(&mount).context("the disk works again")?;
    drop(open);
    mount.unmount()
}

/// What must not wait does not wait for the image's disk either.
fn slow_image(context: &mut Context) -> Result<()> {
    let disk = FailingDisk::create(&context.work, "slow", DISK)?;
    let image = context.image(disk.root(), &context.work.join("store-slow"))?;
    let mount = context.mount(&image)?;
    let file = File::open(mount.join("inline-64"))?;
    disk.slow_down()?;
    let without_waiting = || {
        let flags = ReadWriteFlags::NOWAIT;
        preadv2(&file, &mut [IoSliceMut::new(&mut [0; 64])], 0, flags)
    };
    let start = Instant::now();
    let early = without_waiting();
    let elapsed = start.elapsed();
    ensure!(
        early == Err(Errno::AGAIN),
        "{early:?} after {elapsed:?}, expected EAGAIN"
    );
    let mut read = [0; 64];
    file.read_exact_at(&mut read, 0)?;
    ensure!(read.as_slice() == content("inline-64"), "content differs");
    let late = without_waiting();
    ensure!(late == Ok(64), "of what is cached: {late:?}");
    drop(file);
    mount.unmount()
}

fn below_objects(context: &mut Context) -> Result<()> {
    let disk = FailingDisk::create(&context.work, "objects", DISK)?;
    let image = context.image(&context.work.join("image-2"), &disk.root().join("store"))?;
    let mount = context.mount(&image)?;
    let open = File::open(mount.join(FILE))?;
    disk.fail()?;

    let mut read = vec![0; content(FILE).len()];
    expect_io("read", open.read_exact_at(&mut read, 0))?;
    expect_io("open", File::open(mount.join("external-4097")))?;
    // The tree is in the image.
    ensure!(fs::read(mount.join("inline-64"))? == content("inline-64"));

    disk.repair()?;
    open.read_exact_at(&mut read, 0)?;
    ensure!(read == content(FILE), "content differs");
    context.works(&mount).context("the disk works again")?;
    drop(open);
    mount.unmount()
}

/// The mount has the directory, not its name.
fn store_replaced(context: &mut Context) -> Result<()> {
    let store = context.work.join("store-3");
    let image = context.image(&context.work.join("image-3"), &store)?;
    let mount = context.mount(&image)?;
    let aside = context.work.join("aside");
    fs::rename(&store, &aside)?;
    setup::create_dir(&store)?;
    fs::write(store.join("something-else"), "")?;
    setup::drop_caches()?;
    context.works(&mount).context("replaced")?;

    let open = File::open(mount.join(FILE))?;
    fs::remove_dir_all(&aside)?;
    setup::drop_caches()?;
    expect_io("removed", File::open(mount.join("external-4097")))?;
    let mut read = vec![0; content(FILE).len()];
    open.read_exact_at(&mut read, 0)?;
    ensure!(read == content(FILE), "an open file");
    drop(open);
    mount.unmount()
}

/// Nothing is ever written, so it does not matter whether it could be.
fn read_only_and_full(context: &mut Context) -> Result<()> {
    let disk = FailingDisk::create(&context.work, "full", 64 << 20)?;
    let at = disk.root().to_string_lossy().into_owned();
    let image = context.image(disk.root(), &disk.root().join("store"))?;
    let mount = context.mount(&image)?;
    let filler = vec![0xff; 1 << 20];
    let mut number = 0;
    while fs::write(disk.root().join(format!("filler-{number}")), &filler).is_ok() {
        number += 1;
        ensure!(number < 100, "it does not get full");
    }
    setup::drop_caches()?;
    context.works(&mount).context("full")?;
    run("mount", ["-o", "remount,ro", &at])?;
    setup::drop_caches()?;
    context.works(&mount).context("read-only")?;
    mount.unmount()?;
    let mount = context.mount(&image)?;
    context.works(&mount).context("mounted anew")?;
    mount.unmount()
}

/// The filesystem below stays for as long as it is needed.
fn unmounted_below(context: &mut Context) -> Result<()> {
    let mut disk = FailingDisk::create(&context.work, "gone", DISK)?;
    let image = context.image(disk.root(), &disk.root().join("store"))?;
    let mount = context.mount(&image)?;
    let at = disk.root().to_string_lossy().into_owned();
    ensure!(run("umount", [&at]).is_err(), "it is not busy");
    disk.detach()?;
    setup::drop_caches()?;
    context.works(&mount)?;
    ensure!(
        Request::new(&image.file)
            .at(&context.work.join("second"))
            .is_err(),
        "the image is still there by name"
    );
    mount.unmount()
}

fn nothing_left(_: &mut Context) -> Result<()> {
    memory::no_inodes()
}

const CASES: &[Case<Context>] = &[
    ("the disk below the image fails", below_image),
    ("the disk below the image is slow", slow_image),
    ("the disk below the objects fails", below_objects),
    ("the store is replaced, and removed", store_replaced),
    (
        "the filesystem below is full, and read-only",
        read_only_and_full,
    ),
    ("the filesystem below is unmounted", unmounted_below),
    ("no inode is left", nothing_left),
];

fn main() -> ExitCode {
    tap::run(set_up, CASES)
}
