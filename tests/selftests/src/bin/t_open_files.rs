// SPDX-License-Identifier: GPL-2.0-only
//! Locks, leases, watches and paths of open files, in the store and in the image alike.
#![forbid(unsafe_code)]

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{bail, ensure, Context as _, Result};
use composefs_selftests::basic_tree::{self, content};
use composefs_selftests::command::run;
use composefs_selftests::disk::Disk;
use composefs_selftests::image::{build, build_into};
use composefs_selftests::mount::Mount;
use composefs_selftests::python;
use composefs_selftests::setup;
use composefs_selftests::tap::{self, Case};
use rustix::fs::{fdatasync, flock, fsync, inotify, syncfs, FlockOperation, OFlags};
use rustix::io::Errno;

/// One file in the store, large and small, and two in the image.
const FILES: [&str; 4] = ["external-1m", "external-4097", "inline-64", "empty"];

struct Context {
    work: PathBuf,
    mount: Mount,
}

fn set_up() -> Result<Context> {
    setup::require_driver()?;
    setup::load_module()?;
    let work = setup::work_directory("open-files")?;
    let source = work.join("source");
    basic_tree::create(&source)?;
    let image = build(&setup::mkcomposefs(), &source, &work, &[])?;
    let mount = image.request().at(&work.join("mount"))?;
    setup::drop_caches()?;
    Ok(Context { work, mount })
}

fn each(context: &Context, test: impl Fn(&Path, &[u8]) -> Result<()>) -> Result<()> {
    basic_tree::each(context.mount.root(), &FILES, test)
}

fn each_script(context: &Context, script: &str) -> Result<()> {
    basic_tree::each_script(context.mount.root(), &FILES, script)
}

fn locks(context: &mut Context) -> Result<()> {
    each(context, |path, _| {
        let (first, second) = (File::open(path)?, File::open(path)?);
        flock(&first, FlockOperation::LockExclusive)?;
        let refused = flock(&second, FlockOperation::NonBlockingLockShared);
        ensure!(refused == Err(Errno::WOULDBLOCK), "flock: {refused:?}");
        flock(&first, FlockOperation::Unlock)?;
        flock(&second, FlockOperation::NonBlockingLockShared)?;
        flock(&first, FlockOperation::NonBlockingLockShared)?;
        Ok(())
    })?;
    each_script(context, include_str!("../../python/locks.py"))
}

fn watch(context: &mut Context) -> Result<()> {
    each(context, |path, content| {
        let watch = inotify::init(inotify::CreateFlags::NONBLOCK)?;
        let wanted = inotify::WatchFlags::OPEN
            | inotify::WatchFlags::ACCESS
            | inotify::WatchFlags::CLOSE_NOWRITE;
        inotify::add_watch(&watch, path, wanted)?;
        ensure!(fs::read(path)? == content, "content differs");
        let mut buffer = [std::mem::MaybeUninit::uninit(); 4096];
        let mut reader = inotify::Reader::new(&watch, &mut buffer);
        let mut seen = inotify::ReadFlags::empty();
        loop {
            match reader.next() {
                Ok(event) => seen |= event.events(),
                Err(Errno::AGAIN) => break,
                Err(errno) => bail!("{errno}"),
            }
        }
        for flag in [inotify::ReadFlags::OPEN, inotify::ReadFlags::CLOSE_NOWRITE] {
            ensure!(seen.contains(flag), "no {flag:?} among {seen:?}");
        }
        ensure!(
            content.is_empty() || seen.contains(inotify::ReadFlags::ACCESS),
            "no ACCESS among {seen:?}"
        );
        Ok(())
    })
}

/// fanotify: a mark on the whole filesystem reports files with their handles, and a permission
/// event can refuse an open.
fn watch_everything(context: &mut Context) -> Result<()> {
    each_script(context, include_str!("../../python/watch.py"))
}

fn sync(context: &mut Context) -> Result<()> {
    each(context, |path, _| {
        let file = File::open(path)?;
        fsync(&file).context("fsync")?;
        fdatasync(&file).context("fdatasync")?;
        syncfs(&file).context("syncfs")
    })?;
    let directory = File::open(context.mount.root())?;
    fsync(&directory).context("fsync of a directory")
}

/// The path of the file in the mount, not that of the object.
fn shown_paths(context: &mut Context) -> Result<()> {
    each(context, |path, _| {
        let file = File::open(path)?;
        let link = fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd()))?;
        ensure!(link == path, "/proc/self/fd: {}", link.display());
        let again = File::open(format!("/proc/self/fd/{}", file.as_raw_fd()))?;
        ensure!(
            again.metadata()?.len() == file.metadata()?.len(),
            "reopened"
        );
        let by_path = OpenOptions::new()
            .read(true)
            .custom_flags(OFlags::PATH.bits() as i32)
            .open(path)?;
        let link = fs::read_link(format!("/proc/self/fd/{}", by_path.as_raw_fd()))?;
        ensure!(link == path, "O_PATH: {}", link.display());
        Ok(())
    })?;
    let source = context.work.join("program");
    setup::create_dir(&source.join("source"))?;
    fs::copy(fs::canonicalize("/bin/cat")?, source.join("source/cat"))?;
    let image = build(&setup::mkcomposefs(), &source.join("source"), &source, &[])?;
    let mount = image.request().at(&source.join("mount"))?;
    let path = mount.join("cat");
    let mut child = Command::new(&path)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    // Its mappings are complete once it answers.
    let mut answer = [0; 6];
    child
        .stdin
        .as_mut()
        .context("stdin")?
        .write_all(b"ready\n")?;
    child
        .stdout
        .as_mut()
        .context("stdout")?
        .read_exact(&mut answer)?;
    let exe = fs::read_link(format!("/proc/{}/exe", child.id()));
    let maps = fs::read_to_string(format!("/proc/{}/maps", child.id()));
    let files = run("ls", ["-l", &format!("/proc/{}/map_files", child.id())]);
    child.kill()?;
    child.wait()?;
    let (exe, maps, files) = (exe?, maps?, files?);
    ensure!(exe == path, "/proc/PID/exe: {}", exe.display());
    let text = path.to_string_lossy();
    ensure!(
        maps.lines().filter(|line| line.ends_with(&*text)).count() >= 2,
        "/proc/PID/maps:\n{maps}"
    );
    ensure!(
        !maps.contains("/store/") && !files.contains("/store/"),
        "objects show in /proc:\n{maps}\n{files}"
    );
    Ok(())
}

/// Under the lock that is held for mmap, no file may be opened: whoever has a say in that could wait
/// for the lock.
fn mapping_opens_nothing(context: &mut Context) -> Result<()> {
    const SCRIPT: &str = concat!(
        include_str!("../../python/tracefs.py"),
        include_str!("../../python/mmap_opens_nothing.py")
    );
    each_script(context, SCRIPT)
}

/// A mapping needs neither the open file that it was made of, nor the mount, nor the object's name,
/// and holds nothing any more when it goes.
fn mapping_alone(context: &mut Context) -> Result<()> {
    let work = context.work.join("mapping");
    setup::create_dir(&work)?;
    let mut disk = Disk::create(&work, 64 << 20)?;
    let (source, store) = (context.work.join("source"), disk.root().join("store"));
    let image = build_into(&setup::mkcomposefs(), &source, &work, &store, &[])?;
    let mount = image.request().at(&work.join("mount"))?;
    let (path, object) = (mount.join(FILES[0]), image.object(&content(FILES[0])));
    python::run(
        include_str!("../../python/only_mapped.py"),
        &[path.as_path(), &object, mount.root()],
    )?;
    mount.forget();
    // Not if anything below it is still in use.
    disk.tamper(&[]).context("unmounting the store")
}

const CASES: &[Case<Context>] = &[
    ("flock, POSIX locks, leases", locks),
    ("inotify", watch),
    ("fanotify", watch_everything),
    ("fsync, fdatasync, syncfs", sync),
    ("paths in /proc", shown_paths),
    ("mmap opens nothing", mapping_opens_nothing),
    ("a mapping, and nothing else", mapping_alone),
];

fn main() -> ExitCode {
    tap::run(set_up, CASES)
}
