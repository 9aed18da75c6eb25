// SPDX-License-Identifier: GPL-2.0-only
//! Stores on other filesystems, and in great number.
#![forbid(unsafe_code)]

use std::fs::{self, File, FileTimes};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, SystemTime};

use anyhow::{bail, ensure, Result};
use composefs_selftests::basic_tree;
use composefs_selftests::command::run;
use composefs_selftests::compare::{expect_equal, Links};
use composefs_selftests::disk::Disk;
use composefs_selftests::image::{build, build_into, from_dump, Image};
use composefs_selftests::mount::{Mount, Request};
use composefs_selftests::setup;
use composefs_selftests::tap::{self, note, Case, Skip};
use composefs_selftests::tree;
use rustix::fs::{statx, AtFlags, StatxAttributes, StatxFlags, CWD};
use rustix::io::Errno;
use rustix::mount::{mount, MountFlags};

const FILE: &str = "external-4097";

struct Context {
    work: PathBuf,
    image: Image,
}

fn set_up() -> Result<Context> {
    setup::require_driver()?;
    setup::load_module()?;
    let work = setup::work_directory("stores")?;
    let source = work.join("source");
    basic_tree::create(&source)?;
    let image = build(&setup::mkcomposefs(), &source, &work, &[])?;
    Ok(Context { work, image })
}

impl Context {
    fn target(&self) -> PathBuf {
        self.work.join("mount")
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

/// The mount is made, and the file in the store fails with EIO.
fn refuses_file(request: &Request, target: &Path) -> Result<()> {
    let mount = request.at(target)?;
    basic_tree::expect_refusal(mount.root(), FILE)?;
    ensure!(fs::read(mount.join("inline-64"))? == basic_tree::content("inline-64"));
    Ok(())
}

fn many_basedirs(context: &mut Context) -> Result<()> {
    let directory = context.directory("many")?;
    let mut request = context.bare();
    for number in 0..499 {
        let path = directory.join(number.to_string());
        setup::create_dir(&path)?;
        request = request.basedir(&path);
    }
    let full = request.basedir(&context.image.store);
    basic_tree::expect_content(full.at(&context.target())?.root(), FILE)?;
    let result = full.basedir(&context.image.store).at(&context.target());
    match result {
        Err(refusal) if refusal.errno == Errno::INVAL => Ok(()),
        Err(refusal) => bail!("501: {refusal}"),
        Ok(_) => bail!("501 were accepted"),
    }
}

fn on_tmpfs(context: &mut Context) -> Result<()> {
    let target = context.directory("tmpfs")?;
    mount("tmpfs", &target, "tmpfs", MountFlags::empty(), c"size=64m")?;
    let tmpfs = Mount::adopt(&target);
    let (from, to) = (context.image.store.to_string_lossy(), tmpfs.join("store"));
    run(
        "cp",
        ["-r", "--no-preserve=all", &from, &to.to_string_lossy()],
    )?;
    let request = || context.bare().basedir(&to);
    basic_tree::expect_content(
        request().set("verity", "off").at(&context.target())?.root(),
        FILE,
    )?;
    // The image as well: it has no digest there.
    let image = tmpfs.join("image");
    fs::copy(&context.image.file, &image)?;
    let on_tmpfs = Request::new(&image).basedir(&context.image.store);
    basic_tree::expect_content(on_tmpfs.at(&context.target())?.root(), FILE)?;
    match on_tmpfs.digest(&context.image.digest).at(&context.target()) {
        Err(refusal) if refusal.errno == Errno::BADMSG => Ok(()),
        Err(refusal) => bail!("digest of an image on tmpfs: {refusal}"),
        Ok(_) => bail!("an image on tmpfs has a digest"),
    }
}

/// Whoever serves a filesystem without a device may change what is cached of it, so the driver
/// looks at copies.
fn image_without_device(context: &mut Context) -> Result<()> {
    let target = context.directory("ramfs")?;
    mount("ramfs", &target, "ramfs", MountFlags::empty(), c"")?;
    let ramfs = Mount::adopt(&target);
    let image = ramfs.join("image");
    fs::copy(&context.image.file, &image)?;
    let mounted = Request::new(&image)
        .basedir(&context.image.store)
        .at(&context.target())?;
    basic_tree::expect_content(mounted.root(), FILE)?;
    let other = context.directory("other")?;
    let on_disk = context.bare().basedir(&context.image.store).at(&other)?;
    expect_equal(
        &tree::read(on_disk.root())?,
        &tree::read(mounted.root())?,
        Links::Directories,
    )
}

fn on_btrfs(context: &mut Context) -> Result<()> {
    let disk = context.work.join("btrfs");
    File::create(&disk)?.set_len(256 << 20)?;
    let (disk, target) = (disk.to_string_lossy(), context.directory("on-btrfs")?);
    if run("mkfs.btrfs", ["--quiet", &*disk]).is_err() || setup::modprobe("btrfs").is_err() {
        return Err(Skip("no btrfs".into()).into());
    }
    setup::modprobe("loop")?;
    run("mount", ["-o", "loop", &*disk, &target.to_string_lossy()])?;
    let filesystem = Mount::adopt(&target);
    let store = filesystem.join("store");
    let source = context.work.join("source");
    let tool = setup::mkcomposefs();
    let image = build_into(&tool, &source, &filesystem.join("image"), &store, &[])?;
    setup::drop_caches()?;
    basic_tree::expect_content(
        image
            .request()
            .set("verity", "require")
            .at(&context.target())?
            .root(),
        FILE,
    )?;
    // Without fs-verity: refused unless nothing is asked for.
    let plain = filesystem.join("plain");
    let (from, to) = (store.to_string_lossy(), plain.to_string_lossy());
    run(
        "cp",
        ["-r", "--no-preserve=all", "--reflink=never", &from, &to],
    )?;
    let request = || Request::new(&image.file).basedir(&plain);
    basic_tree::expect_content(
        request().set("verity", "off").at(&context.target())?.root(),
        FILE,
    )?;
    refuses_file(&request().set("verity", "require"), &context.target())
}

/// A new xfs at the directory `name`.
fn xfs(context: &Context, name: &str) -> Result<Mount> {
    let disk = context.work.join(format!("{name}.disk"));
    File::create(&disk)?.set_len(512 << 20)?;
    let (disk, target) = (disk.to_string_lossy(), context.directory(name)?);
    if run("mkfs.xfs", ["-q", &*disk]).is_err() || setup::modprobe("xfs").is_err() {
        return Err(Skip("no xfs".into()).into());
    }
    setup::modprobe("loop")?;
    run("mount", ["-o", "loop", &*disk, &target.to_string_lossy()])?;
    Ok(Mount::adopt(&target))
}

fn on_xfs(context: &mut Context) -> Result<()> {
    let filesystem = xfs(context, "on-xfs")?;
    let store = filesystem.join("store");
    let (from, to) = (
        context.image.store.to_string_lossy(),
        store.to_string_lossy(),
    );
    run("cp", ["-r", "--no-preserve=all", &from, &to])?;
    let image = filesystem.join("image");
    fs::copy(&context.image.file, &image)?;
    let request = || Request::new(&image).basedir(&store);
    basic_tree::expect_content(
        request().set("verity", "off").at(&context.target())?.root(),
        FILE,
    )?;
    // An image there has no digest; a store elsewhere does.
    basic_tree::expect_content(
        Request::new(&image)
            .basedir(&context.image.store)
            .set("verity", "require")
            .at(&context.target())?
            .root(),
        FILE,
    )?;
    match request()
        .digest(&context.image.digest)
        .at(&context.target())
    {
        Err(refusal) if refusal.errno == Errno::BADMSG => Ok(()),
        Err(refusal) => bail!("digest of an image on xfs: {refusal}"),
        Ok(_) => bail!("an image on xfs has a digest"),
    }
}

/// Deduplicates parts of a file, which need not be writable, with those of another.
const DEDUPLICATE: &str = include_str!("../../python/deduplicate.py");

/// xfs zeroes parts of the page cache, and discards it, where it makes files share blocks.
fn deduplicated_meanwhile(context: &mut Context) -> Result<()> {
    let filesystem = xfs(context, "deduplicated")?;
    let (image, copy) = (filesystem.join("image"), filesystem.join("copy"));
    let lines: String = (0..3000)
        .map(|number| format!("/file-{number:04} 0 100644 1 0 0 0 0.0 - - - user.n=v{number}\n"))
        .collect();
    from_dump(&image, &lines)?;
    fs::copy(&image, &copy)?;

    let request = Request::new(&image);
    let expected = tree::read(request.at(&context.target())?.root())?;
    ensure!(expected.len() == 3001, "{} files", expected.len());
    let mut deduplication = Command::new("python3")
        .args(["-I", "-c", DEDUPLICATE])
        .args([&copy, &image])
        .spawn()?;
    let mut walks = 0;
    let status = loop {
        let mount = request.at(&context.target())?;
        expect_equal(&expected, &tree::read(mount.root())?, Links::Files)?;
        walks += 1;
        if let Some(status) = deduplication.try_wait()? {
            break status;
        }
    };
    ensure!(status.success(), "deduplication: {status}");
    note(format_args!("{walks} walks"));
    Ok(())
}

/// Whatever an image calls its objects, they are below the basedir, and no symlink leads out.
fn escapes(context: &mut Context) -> Result<()> {
    const SECRET: &str = "not for this mount\n";
    let directory = context.directory("escapes")?;
    let store = directory.join("store");
    setup::create_dir(&store.join("inside"))?;
    for path in [directory.join("outside"), store.join("inside/object")] {
        fs::write(path, SECRET)?;
    }
    symlink("../outside", store.join("link"))?;
    symlink(&directory, store.join("directory"))?;
    symlink("inside", store.join("within"))?;
    let absolute = directory.join("outside");
    let paths = [
        ("inside", "inside/object"),
        ("parent", "../outside"),
        ("absolute", &absolute.to_string_lossy()),
        ("up-and-down", "inside/../../outside"),
        ("up-and-back", "../inside/object"),
        ("link", "link"),
        ("through-link", "directory/outside"),
        ("link-within", "within/object"),
        ("proc", "../../../../../../proc/self/environ"),
    ];
    for (name, path) in paths {
        let line = format!("/file {} 100644 1 0 0 0 0.0 {path} - -\n", SECRET.len());
        let image = directory.join(format!("image-{name}"));
        if let Err(error) = from_dump(&image, &line) {
            tap::note(format_args!("{path}: {error:#}"));
            continue;
        }
        let request = Request::new(&image).basedir(&store).set("verity", "off");
        let mount = request.at(&context.target())?;
        let read = fs::read_to_string(mount.join("file"));
        if name == "inside" {
            ensure!(read? == SECRET, "content");
            continue;
        }
        let errno = read.map_err(|error| error.raw_os_error());
        ensure!(
            errno == Err(Some(Errno::IO.raw_os_error())),
            "{path}: {errno:?}, expected EIO"
        );
    }
    Ok(())
}

/// statx and lsattr say so of files that are read only after their digest was compared.
fn verified(context: &mut Context) -> Result<()> {
    let line = format!("/{FILE} 4097 100644 1 0 0 0 0.0 payload - -\n");
    let without = context.work.join("without-digest");
    from_dump(&without, &line)?;
    let store = context.directory("without-digest-store")?;
    fs::write(store.join("payload"), basic_tree::content(FILE))?;
    for (level, with_digest) in [("off", false), ("on", true), ("require", true)] {
        for (image, store, expected) in [
            (&context.image.file, &context.image.store, with_digest),
            (&without, &store, false),
        ] {
            let request = Request::new(image).basedir(store).set("verity", level);
            let mount = request.at(&context.target())?;
            // Before it was opened, and after.
            for _ in 0..2 {
                let none = AtFlags::empty();
                let stat = statx(CWD, mount.join(FILE), none, StatxFlags::BASIC_STATS)?;
                let is_verity = stat.stx_attributes.contains(StatxAttributes::VERITY);
                ensure!(
                    stat.stx_attributes_mask.contains(StatxAttributes::VERITY),
                    "the attribute is not supported"
                );
                ensure!(
                    is_verity == expected,
                    "verity={level}, {}: {is_verity}",
                    image.display()
                );
                let opened = File::open(mount.join(FILE));
                ensure!(opened.is_ok() == (expected || level != "require"));
            }
        }
    }
    Ok(())
}

/// That an object was read leaves no trace, not even the time of it.
fn untouched(context: &mut Context) -> Result<()> {
    let directory = context.directory("untouched")?;
    let disk = Disk::create(&directory, 64 << 20)?;
    let root = disk.root().to_string_lossy().into_owned();
    run("mount", ["-o", "remount,strictatime", &root])?;
    let (source, store) = (context.work.join("source"), disk.root().join("store"));
    let image = build_into(&setup::mkcomposefs(), &source, &directory, &store, &[])?;
    let object = image.object(&basic_tree::content(FILE));
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    let accessed = || fs::metadata(&object).and_then(|data| data.accessed());
    File::open(&object)?.set_times(FileTimes::new().set_accessed(time))?;

    let mount = image.request().at(&context.target())?;
    basic_tree::expect_content(mount.root(), FILE)?;
    ensure!(accessed()? == time, "{:?}", accessed()?);
    fs::read(&object)?;
    ensure!(accessed()? != time, "the disk keeps no times of access");
    mount.unmount()
}

const CASES: &[Case<Context>] = &[
    ("500 basedirs, and not one more", many_basedirs),
    ("a store on tmpfs", on_tmpfs),
    ("an image on ramfs", image_without_device),
    ("a store on btrfs", on_btrfs),
    ("a store on xfs", on_xfs),
    (
        "an image on xfs that is deduplicated meanwhile",
        deduplicated_meanwhile,
    ),
    ("objects outside of the store", escapes),
    ("files that are verified, and files that are not", verified),
    ("objects are left as they are", untouched),
];

fn main() -> ExitCode {
    tap::run(set_up, CASES)
}
