// SPDX-License-Identifier: GPL-2.0-only
//! Stores where no object can have fs-verity: the mount says so, and what to do.
#![forbid(unsafe_code)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{bail, ensure, Result};
use composefs_selftests::basic_tree;
use composefs_selftests::command::run;
use composefs_selftests::disk::Disk;
use composefs_selftests::image::{build, Image};
use composefs_selftests::kernel_log::KernelLog;
use composefs_selftests::mount::{Mount, Request};
use composefs_selftests::mountinfo::mountinfo;
use composefs_selftests::overlay::Overlay;
use composefs_selftests::setup;
use composefs_selftests::tap::{self, Case};
use rustix::io::Errno;
use rustix::mount::{mount, MountFlags};

const FILE: &str = "external-4097";
/// What the messages have to say to be of use.
const ADVICE: [&str; 4] = ["fs-verity", "verity=off", "tune2fs -O verity", "btrfs"];

struct Context {
    work: PathBuf,
    image: Image,
    tmpfs: Mount,
}

fn set_up() -> Result<Context> {
    setup::require_driver()?;
    setup::load_module()?;
    let work = setup::work_directory("store-without-verity")?;
    let source = work.join("source");
    basic_tree::create(&source)?;
    let image = build(&setup::mkcomposefs(), &source, &work, &[])?;
    let target = work.join("tmpfs");
    setup::create_dir(&target)?;
    mount("tmpfs", &target, "tmpfs", MountFlags::empty(), c"size=64m")?;
    let tmpfs = Mount::adopt(&target);
    copy(&image.store, &tmpfs.join("store"))?;
    fs::copy(&image.file, tmpfs.join("image"))?;
    Ok(Context { work, image, tmpfs })
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    let (from, to) = (from.to_string_lossy(), to.to_string_lossy());
    run("cp", ["-r", "--no-preserve=all", &from, &to]).map(drop)
}

impl Context {
    fn target(&self) -> PathBuf {
        self.work.join("mount")
    }

    /// A mount of the image that trusts the store on tmpfs.
    fn bare(&self) -> Request {
        Request::new(&self.image.file).basedir(&self.tmpfs.join("store"))
    }
}

fn shows(mount: &Mount, level: &str) -> Result<()> {
    let (_, _, options) = mountinfo(mount.root())?;
    let wanted = format!("verity={level}");
    let is_there = options.split(',').any(|option| option == wanted);
    ensure!(is_there, "{options}, expected {wanted}");
    Ok(())
}

/// Nothing is said: files are served, and one line says with what guarantee.
fn assumes_off(request: &Request, target: &Path) -> Result<()> {
    let mut log = KernelLog::follow()?;
    let mount = request.at(target)?;
    let messages = log.read_composefs()?;
    let [message] = messages.as_slice() else {
        bail!("the kernel log: {messages:?}");
    };
    for part in ADVICE {
        ensure!(message.contains(part), "no {part:?} in: {message}");
    }
    shows(&mount, "off")?;
    basic_tree::expect_content(mount.root(), FILE)
}

/// The mount is refused, in one line with advice.
fn refuses(request: &Request, target: &Path) -> Result<()> {
    request.refused(target, Errno::OPNOTSUPP, &ADVICE).map(drop)
}

fn on_tmpfs(context: &mut Context) -> Result<()> {
    assumes_off(&context.bare(), &context.target())?;
    let there = Request::new(&context.tmpfs.join("image")).basedir(&context.tmpfs.join("store"));
    assumes_off(&there, &context.target())
}

/// As mount.composefs has it: required, as this kernel can check objects.
fn tried(context: &mut Context) -> Result<()> {
    refuses(&context.bare().flag("tryverity"), &context.target())?;
    let able = Request::new(&context.image.file).basedir(&context.image.store);
    let mount = able.flag("tryverity").at(&context.target())?;
    shows(&mount, "require")?;
    basic_tree::expect_content(mount.root(), FILE)
}

fn on_plain_ext4(context: &mut Context) -> Result<()> {
    let disk = Disk::with_features(&context.work, 64 << 20, "^verity")?;
    copy(&context.image.store, &disk.root().join("store"))?;
    let request = Request::new(&context.image.file).basedir(&disk.root().join("store"));
    assumes_off(&request, &context.target())?;
    refuses(&request.set("verity", "on"), &context.target())
}

fn on_overlayfs(context: &mut Context) -> Result<()> {
    setup::modprobe("overlay")?;
    let overlay = Overlay::new(&context.work, "overlay", &[&context.image.store], "")?.mount()?;
    let request = Request::new(&context.image.file).basedir(overlay.root());
    assumes_off(&request, &context.target())
}

/// A store that is a part of a mounted image can prove what that one's store can.
fn inside_a_mount(context: &mut Context) -> Result<()> {
    let outer = context.work.join("outer");
    let source = outer.join("source");
    setup::create_dir(&source)?;
    copy(&context.image.store, &source.join("objects"))?;
    let image = build(&setup::mkcomposefs(), &source, &outer, &[])?;
    let on_disk = image.request().at(&outer.join("mount"))?;
    let request = Request::new(&context.image.file).basedir(&on_disk.join("objects"));
    let mount = request.at(&context.target())?;
    shows(&mount, "on")?;
    drop((mount, on_disk));

    copy(&image.store, &context.tmpfs.join("outer"))?;
    let on_tmpfs = Request::new(&image.file)
        .basedir(&context.tmpfs.join("outer"))
        .at(&outer.join("mount"))?;
    let request = Request::new(&context.image.file).basedir(&on_tmpfs.join("objects"));
    assumes_off(&request, &context.target())
}

fn asked_for_proof(context: &mut Context) -> Result<()> {
    let target = context.target();
    for level in ["on", "require"] {
        refuses(&context.bare().set("verity", level), &target)?;
    }
    refuses(&context.bare().flag("verity"), &target)?;
    refuses(&context.bare().digest(&context.image.digest), &target)
}

/// A mount that asks for verity=off gets no message.
fn asked_for_none(context: &mut Context) -> Result<()> {
    let mut log = KernelLog::follow()?;
    let mount = context.bare().set("verity", "off").at(&context.target())?;
    basic_tree::expect_content(mount.root(), FILE)?;
    let messages = log.read_composefs()?;
    ensure!(messages.is_empty(), "the kernel log: {messages:?}");
    Ok(())
}

fn remounted(context: &mut Context) -> Result<()> {
    let mount = context.bare().at(&context.target())?;
    for level in ["on", "require"] {
        let Err(refusal) = mount.reconfigure("verity", level) else {
            bail!("verity={level} was taken");
        };
        ensure!(refusal.errno == Errno::OPNOTSUPP, "{level}: {refusal}");
    }
    mount.reconfigure("verity", "off")?;
    shows(&mount, "off")?;
    basic_tree::expect_content(mount.root(), FILE)
}

/// One basedir that can have objects with fs-verity is enough for them to have to.
fn one_of_several(context: &mut Context) -> Result<()> {
    let able = context.work.join("empty");
    setup::create_dir(&able)?;
    let mount = context.bare().basedir(&able).at(&context.target())?;
    shows(&mount, "on")?;
    let errno = fs::read(mount.join(FILE)).map_err(|error| error.raw_os_error());
    ensure!(
        errno == Err(Some(Errno::IO.raw_os_error())),
        "{:?}, expected EIO",
        errno.map(|data| data.len())
    );
    Ok(())
}

/// There is nothing to prove without a store.
fn without_a_store(context: &mut Context) -> Result<()> {
    let mut log = KernelLog::follow()?;
    let request = Request::new(&context.image.file);
    shows(&request.at(&context.target())?, "on")?;
    let strict = request.digest(&context.image.digest);
    shows(&strict.at(&context.target())?, "require")?;
    let messages = log.read_composefs()?;
    ensure!(messages.is_empty(), "the kernel log: {messages:?}");
    Ok(())
}

const CASES: &[Case<Context>] = &[
    (
        "on tmpfs, files are served, and a message says so",
        on_tmpfs,
    ),
    ("tryverity", tried),
    ("on ext4 without the feature", on_plain_ext4),
    ("on overlayfs", on_overlayfs),
    ("inside a mounted image, as its store", inside_a_mount),
    ("asked for proof, the mount is refused", asked_for_proof),
    ("verity=off gets no message", asked_for_none),
    ("a remount cannot ask for proof", remounted),
    ("one basedir with fs-verity is enough", one_of_several),
    ("without a store, there is nothing to say", without_a_store),
];

fn main() -> ExitCode {
    tap::run(set_up, CASES)
}
