// SPDX-License-Identifier: GPL-2.0-only
//! What is kept in memory goes again: with the mount, and under pressure while it is in use.
#![forbid(unsafe_code)]

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{bail, ensure, Context as _, Result};
use composefs_fuzz::random::Random;
use composefs_selftests::attributes::content_hash;
use composefs_selftests::basic_tree;
use composefs_selftests::command::run;
use composefs_selftests::compare::{expect_equal, Links};
use composefs_selftests::fs_context::FsContext;
use composefs_selftests::image::{build, from_dump, replace, Image};
use composefs_selftests::memory::{self, inodes, no_inodes};
use composefs_selftests::mount::{Mount, Request};
use composefs_selftests::setup;
use composefs_selftests::tap::{self, note, Case};
use composefs_selftests::tasks;
use composefs_selftests::tree::{self, Tree};
use rustix::fs::statvfs;
use rustix::io::Errno;

/// Small files of the tree, half of them in the store.
const FILES: usize = 2000;

struct Context {
    work: PathBuf,
    image: Image,
    expected: Tree,
}

fn set_up() -> Result<Context> {
    setup::require_driver()?;
    setup::load_module()?;
    let work = setup::work_directory("memory")?;
    let source = work.join("source");
    basic_tree::create(&source)?;
    let mut random = Random::new(5);
    for number in 0..FILES {
        let directory = source.join(format!("many/{}", number % 40));
        setup::create_dir(&directory)?;
        let size = if number % 2 == 0 { 20 } else { 3000 };
        fs::write(directory.join(number.to_string()), random.bytes(size))?;
    }
    let expected = tree::read(&source)?;
    let image = build(&setup::mkcomposefs(), &source, &work, &[])?;
    Ok(Context {
        work,
        image,
        expected,
    })
}

impl Context {
    fn target(&self) -> PathBuf {
        self.work.join("mount")
    }
}

fn see_everything(context: &Context) -> Result<()> {
    let seen = tree::read(&context.target())?;
    expect_equal(&context.expected, &seen, Links::Ignore)
}

fn unmounted(context: &mut Context) -> Result<()> {
    no_inodes().context("before")?;
    for _ in 0..3 {
        let mount = context.image.request().at(&context.target())?;
        see_everything(context)?;
        let count = inodes()?;
        ensure!(
            count >= context.expected.len(),
            "{count} inodes while it is in use"
        );
        mount.unmount()?;
        no_inodes().context("after")?;
    }
    Ok(())
}

fn dropped(context: &mut Context) -> Result<()> {
    let _mount = context.image.request().at(&context.target())?;
    see_everything(context)?;
    let before = inodes()?;
    let mut after = before;
    for _ in 0..20 {
        setup::drop_caches()?;
        after = inodes()?;
        if after < 100 {
            see_everything(context)?;
            return Ok(());
        }
    }
    bail!("{before} inodes, and {after} after dropping caches")
}

/// An object that is removed from the store is kept by the inode that has it, until that goes.
fn objects(context: &mut Context) -> Result<()> {
    const SIZE: u64 = 32 << 20;
    let source = context.work.join("large");
    setup::create_dir(&source)?;
    let content = Random::new(6).bytes(SIZE as usize);
    fs::write(source.join("large"), &content)?;
    let directory = context.work.join("large-image");
    let image = build(&setup::mkcomposefs(), &source, &directory, &[])?;
    let mount = image.request().at(&directory.join("mount"))?;
    ensure!(fs::read(mount.join("large"))? == content, "content differs");
    let free = || -> Result<u64> {
        rustix::fs::sync();
        let statistics = statvfs(&context.work)?;
        Ok(statistics.f_bfree * statistics.f_frsize)
    };
    let before = free()?;
    fs::remove_file(image.object(&content))?;
    let kept = free()?;
    ensure!(
        kept < before + SIZE / 2,
        "the object was freed while an inode has it"
    );
    let mut file = File::open(mount.join("large"))?;
    for _ in 0..3 {
        setup::drop_caches()?;
    }
    // It is open, and so it stays.
    let mut again = Vec::new();
    file.read_to_end(&mut again)?;
    ensure!(again == content, "content differs");
    drop(file);
    for _ in 0..50 {
        setup::drop_caches()?;
        if free()? >= before + SIZE / 2 {
            let gone = File::open(mount.join("large")).map(drop);
            let errno = gone.map_err(|error| error.raw_os_error());
            ensure!(errno == Err(Some(Errno::IO.raw_os_error())), "{errno:?}");
            return Ok(());
        }
    }
    bail!("the object is kept: {before} bytes free, now {}", free()?)
}

fn readers(context: &mut Context) -> Result<()> {
    let mount = context.image.request().at(&context.target())?;
    let stop = AtomicBool::new(false);
    let rounds = std::thread::scope(|scope| -> Result<usize> {
        let mut workers = Vec::new();
        for worker in 0..4_u64 {
            let (stop, root, expected) = (&stop, mount.root(), &context.expected);
            workers.push(scope.spawn(move || -> Result<usize> {
                use std::os::unix::ffi::OsStrExt;
                let files: Vec<_> = expected
                    .iter()
                    .filter(|(_, entry)| entry.content.is_some())
                    .collect();
                let (mut random, mut count) = (Random::new(worker), 0);
                while !stop.load(Ordering::Relaxed) || count == 0 {
                    let index = random.index(files.len());
                    let (path, entry) = files[index];
                    let path = root.join(std::ffi::OsStr::from_bytes(path));
                    let hash = content_hash(&path).with_context(|| path.display().to_string())?;
                    ensure!(Some(hash) == entry.content, "{} differs", path.display());
                    if random.below(50) == 0 {
                        let listed = fs::read_dir(root.join("many"))?.count();
                        ensure!(listed == 40, "{listed} names");
                    }
                    count += 1;
                }
                Ok(count)
            }));
        }
        let mut dropped = Ok(());
        for _ in 0..40 {
            dropped = dropped.and_then(|()| setup::drop_caches());
        }
        stop.store(true, Ordering::Relaxed);
        let mut count = 0;
        for worker in workers {
            count += tasks::join(worker)?;
        }
        dropped.map(|()| count)
    })?;
    tap::note(format_args!("{rounds} files were read meanwhile"));
    mount.unmount()?;
    no_inodes()
}

/// Mounts and unmounts while others look: no inode is left over from any of it.
fn mounts(context: &mut Context) -> Result<()> {
    for _ in 0..50 {
        let mount = context.image.request().at(&context.target())?;
        let read = fs::read(mount.join("external-65"))?;
        ensure!(
            read == basic_tree::content("external-65"),
            "content differs"
        );
        mount.unmount()?;
    }
    no_inodes()
}

/// A file that was opened without being checked is checked when it is opened after the level of
/// verity was raised, in the cache or not; what is open stays open.
fn raised(context: &mut Context) -> Result<()> {
    let name = "external-4097";
    let store = context.work.join("plain-store");
    let (from, to) = (
        context.image.store.to_string_lossy(),
        store.to_string_lossy(),
    );
    run("cp", ["-r", "--no-preserve=all", &from, &to])?;
    let wrong = vec![b'w'; 4097];
    let object = context.image.object(&basic_tree::content(name));
    replace(
        &store.join(object.strip_prefix(&context.image.store)?),
        &wrong,
    )?;
    for level in ["on", "require"] {
        let request = Request::new(&context.image.file).basedir(&store);
        let mount = request.set("verity", "off").at(&context.target())?;
        let path = mount.join(name);
        ensure!(fs::read(&path)? == wrong, "not the wrong object");
        let open = File::open(&path)?;
        let picked = FsContext::pick(mount.root())?;
        picked.set_string("verity", level)?;
        picked.reconfigure()?;
        for _ in 0..2 {
            let errno = fs::read(&path).map_err(|error| error.raw_os_error());
            ensure!(
                errno == Err(Some(Errno::IO.raw_os_error())),
                "verity={level}: {:?}",
                errno.map(|content| content.len())
            );
        }
        let mut part = [0; 100];
        open.read_exact_at(&mut part, 3000)?;
        ensure!(part == [b'w'; 100], "the open file");
        ensure!(fs::read(mount.join("inline-64"))? == basic_tree::content("inline-64"));
        drop(open);
        setup::drop_caches()?;
        ensure!(
            File::open(&path).is_err(),
            "verity={level}: it can be opened later"
        );
        mount.unmount()?;
    }
    no_inodes()
}

fn leaks(_: &mut Context) -> Result<()> {
    memory::expect_no_leak()
}

/// The group that mounts.
const CGROUP: &str = "/sys/fs/cgroup/mounts";

/// One of the group's counts of memory.
fn of_group(key: &str) -> Result<i64> {
    let text = fs::read_to_string(format!("{CGROUP}/memory.stat"))?;
    let line = text.lines().find_map(|line| line.strip_prefix(key));
    let line = line.with_context(|| format!("no {key}in {text}"))?;
    Ok(line.trim().parse()?)
}

/// What the group has of the kernel's memory besides objects of slabs and the like: whole pages.
fn pages_of_group() -> Result<i64> {
    let others = [
        "slab ",
        "kernel_stack ",
        "pagetables ",
        "percpu ",
        "vmalloc ",
    ];
    let others = others
        .iter()
        .map(|&key| of_group(key))
        .sum::<Result<i64>>()?;
    Ok(of_group("kernel ")? - others)
}

/// Runs something in the group.
fn in_group<R>(run: impl FnOnce() -> Result<R>) -> Result<R> {
    let root = Path::new("/sys/fs/cgroup");
    fs::write(root.join("cgroup.subtree_control"), "+memory").context("cgroup")?;
    setup::create_dir(Path::new(CGROUP))?;
    fs::write(format!("{CGROUP}/cgroup.procs"), "0")?;
    let result = run();
    fs::write(root.join("cgroup.procs"), "0")?;
    fs::remove_dir(CGROUP)?;
    result
}

/// Copies of blocks, which are kept where an image has no fs-verity, count for who mounts and looks.
fn accounted(context: &mut Context) -> Result<()> {
    const MOUNTS: usize = 20;
    // Of the sixteen that are kept for each.
    const LEAST: i64 = 12 * 4096 * MOUNTS as i64;
    let grown = in_group(|| {
        let before = pages_of_group()?;
        let mut mounts = Vec::new();
        for number in 0..MOUNTS {
            let plain = context.work.join(format!("plain-{number}"));
            fs::copy(&context.image.file, &plain)?;
            let target = context.work.join(format!("mount-{number}"));
            setup::create_dir(&target)?;
            let request = Request::new(&plain).basedir(&context.image.store);
            let mount = request.at(&target)?;
            tree::read(mount.root())?;
            mounts.push(mount);
        }
        let after = pages_of_group()?;
        mounts.into_iter().try_for_each(Mount::unmount)?;
        Ok(after - before)
    })?;
    note(format_args!("{grown} bytes of pages for {MOUNTS} mounts"));
    ensure!(grown >= LEAST, "only {grown} bytes, not {LEAST}");
    Ok(())
}

/// So do inodes, and the targets of symlinks that were followed, for who looks at them.
fn accounted_inodes(context: &mut Context) -> Result<()> {
    const LINKS: usize = 2000;
    const TARGET: usize = 1000;
    let target = "t".repeat(TARGET);
    let line = |number| format!("/{number} {TARGET} 120777 1 0 0 0 0.0 {target} - -\n");
    let image = context.work.join("links");
    from_dump(&image, &(0..LINKS).map(line).collect::<String>())?;
    let mount = Request::new(&image).at(&context.target())?;
    let links: Vec<_> = (0..LINKS)
        .map(|number| mount.join(number.to_string()))
        .collect();
    let (of_inodes, of_targets) = in_group(|| {
        let before = of_group("slab ")?;
        for link in &links {
            fs::symlink_metadata(link)?;
        }
        let seen = of_group("slab ")?;
        for link in &links {
            fs::read_link(link)?;
        }
        Ok((seen - before, of_group("slab ")? - seen))
    })?;
    note(format_args!("{of_inodes} bytes, {of_targets} of targets"));
    mount.unmount()?;
    // There are names as well, but they take less.
    let least = (LINKS * 500) as i64;
    ensure!(of_inodes >= least, "inodes: only {of_inodes} bytes");
    let least = (LINKS * TARGET) as i64 * 9 / 10;
    ensure!(of_targets >= least, "targets: only {of_targets} bytes");
    Ok(())
}

const CASES: &[Case<Context>] = &[
    ("unmounting frees all inodes", unmounted),
    ("dropping caches frees unused inodes", dropped),
    ("objects go with the inodes that have them", objects),
    ("caches are dropped under readers", readers),
    ("mounted and unmounted again and again", mounts),
    ("verity raised over cached files", raised),
    ("what is kept counts for who mounts", accounted),
    ("kmemleak", leaks),
    (
        "inodes and symlinks count for who looks at them",
        accounted_inodes,
    ),
];

fn main() -> ExitCode {
    tap::run(set_up, CASES)
}
