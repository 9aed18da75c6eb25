// SPDX-License-Identifier: GPL-2.0-only
//! Mounts among other mounts: flags, reconfiguring, id-mapping, bind mounts, unmounting.
#![forbid(unsafe_code)]

use std::fs::{self, File};
use std::io::Read;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{symlink, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{bail, ensure, Context as _, Result};
use composefs_selftests::basic_tree;
use composefs_selftests::command::{capture, output, run};
use composefs_selftests::fs_context::{FsContext, Refusal};
use composefs_selftests::image::{build, Image};
use composefs_selftests::mount::{Mount, Request};
use composefs_selftests::python;
use composefs_selftests::setup;
use composefs_selftests::tap::{self, Case};
use rustix::fs::{chownat, mknodat, statfs, AtFlags, FileType, Gid, Mode, OFlags, Uid, CWD};
use rustix::io::Errno;
use rustix::mount::{
    mount_bind, mount_change, mount_move, mount_remount, unmount, MountFlags,
    MountPropagationFlags, UnmountFlags,
};

const FILE: &str = "external-4097";

struct Context {
    work: PathBuf,
    image: Image,
}

fn set_up() -> Result<Context> {
    setup::require_driver()?;
    setup::load_module()?;
    // Moving is refused below shared mounts.
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    mount_change("/", private).context("making all mounts private")?;
    let work = setup::work_directory("mounts")?;
    let source = work.join("source");
    basic_tree::create(&source)?;
    let program = source.join("id");
    fs::copy(fs::canonicalize("/usr/bin/id")?, &program)?;
    chownat(
        CWD,
        &program,
        Some(Uid::ROOT),
        Some(Gid::ROOT),
        AtFlags::empty(),
    )?;
    fs::set_permissions(&program, PermissionsExt::from_mode(0o4755))?;
    let device = rustix::fs::makedev(1, 3);
    let mode = Mode::from_raw_mode(0o666);
    mknodat(
        CWD,
        source.join("null"),
        FileType::CharacterDevice,
        mode,
        device,
    )?;
    for (name, id) in [("owned-0", 0), ("owned-5", 5), ("owned-70000", 70_000)] {
        let path = source.join(name);
        fs::write(&path, vec![b'o'; 1000])?;
        fs::set_permissions(&path, PermissionsExt::from_mode(0o600))?;
        let (uid, gid) = (Uid::from_raw(id), Gid::from_raw(id));
        chownat(CWD, &path, Some(uid), Some(gid), AtFlags::empty())?;
    }
    let image = build(&setup::mkcomposefs(), &source, &work, &[])?;
    Ok(Context { work, image })
}

impl Context {
    fn target(&self) -> PathBuf {
        self.work.join("mount")
    }

    fn mounted(&self) -> Result<Mount> {
        Ok(self.image.request().at(&self.target())?)
    }

    fn bare(&self) -> Request {
        Request::new(&self.image.file)
    }

    fn directory(&self, name: &str) -> Result<PathBuf> {
        let path = self.work.join(name);
        setup::create_dir(&path)?;
        Ok(path)
    }
}

fn id_mapped(context: &mut Context) -> Result<()> {
    let original = context.mounted()?;
    let target = context.directory("id-mapped")?;
    let mut bind = Command::new("mount");
    bind.args(["--bind", "-o", "X-mount.idmap=b:0:10000:65536"]);
    output(bind.arg(original.root()).arg(&target))?;
    let mapped = Mount::adopt(&target);
    for (name, id) in [
        ("owned-0", 10_000),
        ("owned-5", 10_005),
        ("owned-70000", 65_534),
    ] {
        let metadata = fs::metadata(mapped.join(name))?;
        ensure!(
            (metadata.uid(), metadata.gid()) == (id, id),
            "{name} belongs to {}:{}, expected {id}",
            metadata.uid(),
            metadata.gid()
        );
    }
    basic_tree::expect_content(mapped.root(), FILE)?;
    // Permissions follow the mapped owner: 10005 may read what 5 owns, and others may not.
    for (user, root, name, allowed) in [
        ("10005", &mapped, "owned-5", true),
        ("10005", &mapped, "owned-0", false),
        ("5", &mapped, "owned-5", false),
        ("5", &original, "owned-5", true),
        ("10005", &original, "owned-5", false),
    ] {
        let mut cat = Command::new("setpriv");
        cat.args(["--reuid", user, "--regid", user, "--clear-groups", "cat"]);
        let status = capture(cat.arg(root.join(name)))?.status;
        ensure!(
            status.success() == allowed,
            "user {user} reading {}: {status}",
            root.join(name).display()
        );
    }
    mapped.unmount()
}

fn bind_and_move(context: &mut Context) -> Result<()> {
    let original = context.mounted()?;
    let (bound, moved) = (context.directory("bound")?, context.directory("moved")?);
    mount_bind(original.join("directory"), &bound)?;
    let bind = Mount::adopt(&bound);
    let name = "external-3m";
    ensure!(fs::read(bound.join(name))? == basic_tree::content(&format!("directory/{name}")));
    mount_move(&bound, &moved)?;
    std::mem::forget(bind);
    let bind = Mount::adopt(&moved);
    ensure!(!bound.join(name).exists(), "it is still there");
    // The original may go first.
    original.unmount()?;
    setup::drop_caches()?;
    ensure!(fs::read(moved.join(name))? == basic_tree::content(&format!("directory/{name}")));
    // A single file can be mounted on another.
    let file = context.work.join("file");
    fs::write(&file, "")?;
    mount_bind(moved.join(name), &file)?;
    let single = Mount::adopt(&file);
    bind.unmount()?;
    ensure!(fs::metadata(&file)?.len() == 3 << 20);
    single.unmount()
}

fn reconfigure(context: &mut Context) -> Result<()> {
    let store = context.image.store.to_string_lossy().into_owned();
    let target = context.target();
    let change = |options: &[(&str, &str)]| -> Result<(), Refusal> {
        let picked = FsContext::pick(&target).map_err(|errno| Refusal {
            step: "fspick".into(),
            errno,
            log: Vec::new(),
        })?;
        for (key, value) in options {
            match *value {
                "" => picked.set_flag(key)?,
                value => picked.set_string(key, value)?,
            }
        }
        picked.reconfigure()
    };
    let request = context.bare().basedir(&context.image.store);
    let mount = request.set("verity", "off").at(&target)?;
    let allowed: [&[(&str, &str)]; 7] = [
        &[],
        &[("ro", "")],
        &[("basedir", &store)],
        &[("verity", "off")],
        &[("verity", "on")],
        &[("verity", "require")],
        &[("verity", "require"), ("basedir", &store)],
    ];
    for options in allowed {
        change(options).with_context(|| format!("{options:?}"))?;
        ensure!(mount.is_read_only()?, "it is writable after {options:?}");
        basic_tree::expect_content(mount.root(), FILE)?;
    }
    let refusals: [&[(&str, &str)]; 7] = [
        &[("verity", "on")],
        &[("verity", "off")],
        &[("noverity", "")],
        &[("basedir", "/tmp")],
        &[("basedir", &store), ("basedir", &store)],
        &[("digest", &context.image.digest)],
        &[("rw", "")],
    ];
    for options in refusals {
        if change(options).is_ok() {
            bail!("{options:?} was accepted");
        }
        basic_tree::expect_content(mount.root(), FILE)?;
    }
    let shown = fs::read_to_string("/proc/self/mounts")?;
    let line = shown
        .lines()
        .find(|line| line.contains(&*target.to_string_lossy()));
    ensure!(
        line.is_some_and(|line| line.contains("verity=require") && line.contains("ro,")),
        "{line:?}"
    );
    // By the old system call too.
    mount_remount(&target, MountFlags::RDONLY, c"")?;
    let writable = mount_remount(&target, MountFlags::empty(), c"");
    ensure!(
        mount.is_read_only()?,
        "mount(2) made it writable: {writable:?}"
    );
    Ok(())
}

fn flags(context: &mut Context) -> Result<()> {
    let mount = context.mounted()?;
    let user = || -> Result<std::process::Output> {
        let mut id = Command::new("setpriv");
        id.args(["--reuid", "1000", "--regid", "1000", "--clear-groups"]);
        capture(id.arg(mount.join("id")).arg("-u"))
    };
    let who = || -> Result<String> { Ok(String::from_utf8_lossy(&user()?.stdout).trim().into()) };
    let remount = |flags: MountFlags| {
        mount_remount(
            mount.root(),
            MountFlags::BIND | MountFlags::RDONLY | flags,
            c"",
        )
    };
    ensure!(who()? == "0", "a set-user-id program runs as {}", who()?);
    fs::write(mount.join("null"), "x").context("a device")?;
    remount(MountFlags::NOSUID)?;
    ensure!(who()? == "1000", "nosuid: it runs as {}", who()?);
    remount(MountFlags::NODEV)?;
    ensure!(who()? == "0", "nosuid is still there");
    let device = File::open(mount.join("null")).map(drop);
    let errno = device.map_err(|error| error.raw_os_error());
    ensure!(
        errno == Err(Some(Errno::ACCESS.raw_os_error())),
        "nodev: {errno:?}"
    );
    remount(MountFlags::NOEXEC)?;
    ensure!(!user()?.status.success(), "noexec: it runs");
    // Nor is it mapped to be run.
    python::run(
        include_str!("../../python/mount_flags.py"),
        &[mount.join("id")],
    )?;
    remount(MountFlags::empty())?;
    ensure!(who()? == "0", "the flags are still there");
    Ok(())
}

fn descriptors(context: &mut Context) -> Result<()> {
    let open = |flags: OFlags, path: &Path| rustix::fs::open(path, flags, Mode::empty());
    let image = File::open(&context.image.file)?;
    for flags in [OFlags::PATH, OFlags::RDONLY | OFlags::DIRECTORY] {
        let store = open(flags, &context.image.store)?;
        let filesystem = FsContext::open("composefs")?;
        filesystem.set_string("source", &format!("/proc/self/fd/{}", image.as_raw_fd()))?;
        filesystem.set_fd("basedir", &store)?;
        filesystem.set_string("digest", &context.image.digest)?;
        filesystem.create()?;
        drop(store);
        filesystem.attach(&context.target())?;
        let mount = Mount::adopt(&context.target());
        setup::drop_caches()?;
        basic_tree::expect_content(mount.root(), FILE)?;
    }
    let filesystem = FsContext::open("composefs")?;
    filesystem.set_string("source", &context.image.file.to_string_lossy())?;
    let result = filesystem
        .set_fd("basedir", &image)
        .and_then(|()| filesystem.create());
    match result {
        Err(refusal) if refusal.errno == Errno::NOTDIR => Ok(()),
        other => bail!("a file as basedir: {other:?}, expected ENOTDIR"),
    }
}

fn links(context: &mut Context) -> Result<()> {
    let (link, image) = (context.work.join("link"), context.work.join("image-link"));
    symlink("store", &link)?;
    symlink(&context.image.file, &image)?;
    basic_tree::expect_content(
        Request::new(&image)
            .basedir(&link)
            .at(&context.target())?
            .root(),
        FILE,
    )?;
    std::env::set_current_dir(context.directory("elsewhere")?)?;
    for store in ["../store", "../link", "./../elsewhere/../store/"] {
        let request = Request::new(Path::new("../image")).set("basedir", store);
        let mount = request.at(&context.target());
        std::env::set_current_dir("/")?;
        basic_tree::expect_content(mount?.root(), FILE).context(store)?;
        std::env::set_current_dir(context.work.join("elsewhere"))?;
    }
    std::env::set_current_dir("/")?;
    Ok(())
}

fn unlinked(context: &mut Context) -> Result<()> {
    let file = context.work.join("unlinked");
    fs::copy(&context.image.file, &file)?;
    let request = Request::new(&file).basedir(&context.image.store);
    let mount = request.at(&context.target())?;
    fs::remove_file(&file)?;
    setup::drop_caches()?;
    basic_tree::expect_content(mount.root(), FILE)?;
    ensure!(
        fs::read_dir(mount.root())?.count() > 10,
        "the listing is short"
    );
    mount.unmount()
}

fn statistics(context: &mut Context) -> Result<()> {
    let other = basic_tree::build_image(&context.directory("other")?)?;
    let of = |image: &Image| -> Result<String> {
        let mount = image.request().at(&context.target())?;
        let statistics = statfs(mount.root())?;
        ensure!(
            statistics.f_type == 0xd078_629a,
            "type {:#x}",
            statistics.f_type
        );
        ensure!(
            statistics.f_namelen == 255,
            "names {}",
            statistics.f_namelen
        );
        ensure!(
            statistics.f_bfree == 0 && statistics.f_bavail == 0,
            "free blocks"
        );
        let below = statfs(mount.join("directory/external-3m"))?;
        let text = format!("{:?}", statistics.f_fsid);
        ensure!(
            format!("{:?}", below.f_fsid) == text,
            "f_fsid differs below"
        );
        // None that could be full.
        let (blocks, files) = (statistics.f_blocks, statistics.f_files);
        ensure!(blocks == 0 && files == 0, "{blocks} blocks, {files} files");
        let root = mount.root().to_string_lossy();
        for shown in [
            run("df", ["--output=pcent,ipcent", &root])?,
            run("findmnt", ["-n", "-o", "USE%", &root])?,
        ] {
            ensure!(!shown.contains("100"), "full: {shown}");
        }
        Ok(text)
    };
    let (first, second, third) = (of(&context.image)?, of(&other)?, of(&context.image)?);
    ensure!(first == third, "f_fsid changes: {first}, {third}");
    ensure!(first != second, "two images have the f_fsid {first}");
    Ok(())
}

fn busy_and_lazy(context: &mut Context) -> Result<()> {
    let target = context.target();
    let mount = context.mounted()?;
    let mut file = File::open(mount.join(FILE))?;
    let directory = File::open(mount.join("directory"))?;
    let busy = unmount(&target, UnmountFlags::empty());
    ensure!(busy == Err(Errno::BUSY), "{busy:?}, expected EBUSY");
    drop(directory);
    std::env::set_current_dir(mount.join("directory"))?;
    mount.detach()?;
    ensure!(!target.join(FILE).exists(), "it is still mounted");
    setup::drop_caches()?;
    let mut content = Vec::new();
    file.read_to_end(&mut content)?;
    ensure!(content == basic_tree::content(FILE), "content differs");
    // Names below a working directory that nobody else sees are found as before.
    let seen = fs::read("external-3m")?;
    std::env::set_current_dir("/")?;
    ensure!(
        seen == basic_tree::content("directory/external-3m"),
        "content differs"
    );
    drop(file);
    // The image can be written to again, so nothing is left of the mount.
    let plain = context.work.join("plain");
    fs::copy(&context.image.file, &plain)?;
    let request = Request::new(&plain).basedir(&context.image.store);
    let mount = request.at(&target)?;
    let refused = File::options().append(true).open(&plain).map(drop);
    let errno = refused.map_err(|error| error.raw_os_error());
    ensure!(
        errno == Err(Some(Errno::TXTBSY.raw_os_error())),
        "{errno:?}"
    );
    let file = File::open(mount.join(FILE))?;
    mount.detach()?;
    ensure!(
        File::options().append(true).open(&plain).is_err(),
        "writable while open"
    );
    drop(file);
    let deadline = 1000;
    // The last reference is put by a task of its own.
    for _ in 0..deadline {
        if File::options().append(true).open(&plain).is_ok() {
            return Ok(());
        }
        rustix::fs::sync();
        std::thread::yield_now();
    }
    bail!("the image is still in use")
}

const CASES: &[Case<Context>] = &[
    ("an id-mapped mount", id_mapped),
    ("bind and move", bind_and_move),
    ("remount and reconfigure", reconfigure),
    ("nosuid, nodev, noexec", flags),
    ("image and basedir by file descriptor", descriptors),
    ("symlinks and relative paths", links),
    ("an image that is unlinked while mounted", unlinked),
    ("statfs", statistics),
    ("busy mounts, and lazy unmounts", busy_and_lazy),
];

fn main() -> ExitCode {
    tap::run(set_up, CASES)
}
