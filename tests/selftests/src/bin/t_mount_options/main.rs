// SPDX-License-Identifier: GPL-2.0-only
//! Mount options that work, and what they mean.
#![forbid(unsafe_code)]

mod basedirs;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{bail, ensure, Context as _, Result};
use composefs_selftests::basic_tree;
use composefs_selftests::command::{output, run};
use composefs_selftests::image::{build_into, enable_verity, from_dump, replace, Image};
use composefs_selftests::mount::{Mount, Request};
use composefs_selftests::setup;
use composefs_selftests::tap::{self, Case, Skip};
use composefs_selftests::verity::{hex_digest, Algorithm};
use rustix::fs::{mknodat, FileType, Mode, CWD};
use rustix::io::Errno;
use rustix::mount::MountFlags;

const FILE: &str = "external-4097";

struct Context {
    work: PathBuf,
    image: Image,
}

fn set_up() -> Result<Context> {
    setup::require_driver()?;
    setup::load_module()?;
    let work = setup::work_directory("mount-options")?;
    let image = basic_tree::build_image(&work)?;
    Ok(Context { work, image })
}

impl Context {
    fn target(&self) -> PathBuf {
        self.work.join("mount")
    }

    /// The image without any basedir.
    fn bare(&self) -> Request {
        Request::new(&self.image.file)
    }

    /// The request mounts, and an external file can be read.
    fn works(&self, request: &Request) -> Result<()> {
        self.reads(&request.at(&self.target())?)
    }

    fn reads(&self, mount: &Mount) -> Result<()> {
        basic_tree::expect_content(mount.root(), FILE)
    }

    /// The request mounts, and the external file cannot be opened.
    fn refuses_file(&self, request: &Request) -> Result<()> {
        basic_tree::expect_refusal(request.at(&self.target())?.root(), FILE)
    }

    /// Copies the store without fs-verity to a new directory.
    fn plain_store(&self, name: &str) -> Result<PathBuf> {
        let copy = self.work.join(name);
        let (from, to) = (self.image.store.to_string_lossy(), copy.to_string_lossy());
        run("cp", ["-r", "--no-preserve=all", &from, &to])?;
        Ok(copy)
    }
}

fn digest(context: &mut Context) -> Result<()> {
    let digest = &context.image.digest;
    for value in [digest.clone(), format!("sha256:{digest}")] {
        let request = context.bare().basedir(&context.image.store).digest(&value);
        context.works(&request).context(value)?;
    }
    let file = context.work.join("image-512");
    let content = fs::read(&context.image.file)?;
    fs::write(&file, &content)?;
    let path = file.to_string_lossy();
    run("fsverity", ["enable", "--hash-alg=sha512", &path])?;
    let digest = hex_digest(Algorithm::Sha512, &content);
    for value in [digest.clone(), format!("sha512:{digest}")] {
        let request = Request::new(&file).basedir(&context.image.store);
        context.works(&request.digest(&value)).context(value)?;
    }
    Ok(())
}

fn verity_spellings(context: &mut Context) -> Result<()> {
    let with_value = [
        ("verity", "off"),
        ("verity", "on"),
        ("verity", "require"),
        ("verity_check", "0"),
        ("verity_check", "1"),
        ("verity_check", "2"),
    ];
    let request = || context.bare().basedir(&context.image.store);
    for (key, value) in with_value {
        let name = format!("{key}={value}");
        context.works(&request().set(key, value)).context(name)?;
    }
    for flag in ["verity", "noverity"] {
        context.works(&request().flag(flag)).context(flag)?;
    }
    Ok(())
}

/// Objects without fs-verity: served only by a mount that does not check.
fn verity_of_objects(context: &mut Context) -> Result<()> {
    let store = context.plain_store("plain-store")?;
    let request = || context.bare().basedir(&store);
    for request in [
        request().set("verity", "off"),
        request().flag("noverity"),
        request().set("verity_check", "0"),
    ] {
        context.works(&request)?;
    }
    for request in [
        request(),
        request().set("verity", "on"),
        request().set("verity", "require"),
        request().flag("verity"),
        request().set("verity_check", "1"),
        request().digest(&context.image.digest),
    ] {
        context.refuses_file(&request)?;
    }
    Ok(())
}

/// A file that carries no digest: served unless every file must carry one.
fn files_without_digest(context: &mut Context) -> Result<()> {
    let store = context.work.join("no-digest-store");
    setup::create_dir(&store)?;
    fs::write(store.join("payload"), basic_tree::content(FILE))?;
    let line = format!("/{FILE} 4097 100644 1 0 0 0 0.0 payload - -\n");
    let image = context.work.join("no-digest");
    from_dump(&image, &line)?;
    let request = || Request::new(&image).basedir(&store);
    for request in [
        request(),
        request().set("verity", "off"),
        request().set("verity", "on"),
    ] {
        context.works(&request)?;
    }
    context.refuses_file(&request().set("verity", "require"))
}

/// What is not checked for its digest is checked for its size.
fn wrong_size(context: &mut Context) -> Result<()> {
    let store = context.plain_store("short-store")?;
    let content = basic_tree::content(FILE);
    let object = context.image.object(&content);
    let object = store.join(object.strip_prefix(&context.image.store)?);
    for wrong in [
        &content[..content.len() - 1],
        &[content.as_slice(), b"x"].concat(),
        b"",
    ] {
        replace(&object, wrong)?;
        context.refuses_file(&context.bare().basedir(&store).flag("noverity"))?;
    }
    Ok(())
}

/// A remount can ask for more, never for less, and can change nothing else.
fn remount(context: &mut Context) -> Result<()> {
    let store = context.plain_store("remount-store")?;
    let request = context.bare().basedir(&store).set("verity", "off");
    let mount = request.at(&context.target())?;
    context.reads(&mount)?;
    let refused = |key: &str, value: &str| -> Result<()> {
        match mount.reconfigure(key, value) {
            Err(refusal) if refusal.errno == Errno::INVAL => Ok(()),
            Err(refusal) => bail!("{key}={value}: {refusal}"),
            Ok(()) => bail!("{key}={value} was accepted"),
        }
    };
    refused("basedir", &context.image.store.to_string_lossy())?;
    refused("digest", &context.image.digest)?;
    context.reads(&mount)?;

    mount.reconfigure("verity", "on")?;
    refused("verity", "off")?;
    // Neither a file that was read before nor another can be opened now.
    for name in [FILE, "external-4096"] {
        let error = fs::File::open(mount.join(name)).err().context("opened")?;
        ensure!(Errno::from_io_error(&error) == Some(Errno::IO), "{error}");
    }
    mount.reconfigure("verity", "require")?;
    refused("verity", "on")?;
    Ok(())
}

/// A bind mount of it that shows other owners.
fn id_mapped(context: &mut Context) -> Result<()> {
    let mount = context.image.request().at(&context.target())?;
    let mapped = context.work.join("mapped");
    setup::create_dir(&mapped)?;
    let (root, target) = (mount.root().to_string_lossy(), mapped.to_string_lossy());
    run(
        "mount",
        ["-o", "bind,X-mount.idmap=b:0:100000:65536", &root, &target],
    )?;
    let mapped = Mount::adopt(&mapped);
    let uid = fs::metadata(mapped.join(FILE))?.uid();
    ensure!(uid == 100_000, "the owner is {uid}");
    ensure!(
        fs::metadata(mount.join(FILE))?.uid() == 0,
        "the owner below"
    );
    context.reads(&mapped)
}

/// What a mount holds stays with it when names change.
fn renamed_and_removed(context: &mut Context) -> Result<()> {
    let image = context.work.join("image-to-remove");
    fs::copy(&context.image.file, &image)?;
    let mount = Request::new(&image)
        .basedir(&context.image.store)
        .at(&context.target())?;
    fs::remove_file(&image)?;
    let elsewhere = context.work.join("store-elsewhere");
    fs::rename(&context.image.store, &elsewhere)?;
    setup::drop_caches()?;
    let read = context.reads(&mount);
    fs::rename(&elsewhere, &context.image.store)?;
    read
}

fn twice(context: &mut Context) -> Result<()> {
    let request = context.image.request();
    let first = request.at(&context.work.join("first"))?;
    let second = request.at(&context.work.join("second"))?;
    context.reads(&first)?;
    first.unmount()?;
    context.reads(&second)
}

fn old_mount_api(context: &mut Context) -> Result<()> {
    let target = context.target();
    let options = format!(
        "basedir={},digest={}",
        context.image.store.display(),
        context.image.digest
    );
    let data = std::ffi::CString::new(options.clone())?;
    let file = &context.image.file;
    for flags in [MountFlags::empty(), MountFlags::RDONLY] {
        rustix::mount::mount(file, &target, "composefs", flags, data.as_c_str())?;
        let mount = Mount::adopt(&target);
        context.reads(&mount)?;
        ensure!(mount.is_read_only()?, "writable");
    }
    let mut mount = Command::new("mount");
    mount.args(["-i", "-t", "composefs", "-o", &options]);
    output(mount.arg(file).arg(&target))?;
    context.reads(&Mount::adopt(&target))
}

/// A store that is not on the image's filesystem, and not on ext4.
fn btrfs_store(context: &mut Context) -> Result<()> {
    if !Path::new("/usr/bin/mkfs.btrfs").exists() && !Path::new("/usr/sbin/mkfs.btrfs").exists() {
        return Err(Skip("no mkfs.btrfs".into()).into());
    }
    setup::modprobe("loop")?;
    let disk = context.work.join("btrfs");
    fs::File::create(&disk)?.set_len(256 << 20)?;
    let (disk, target) = (disk.to_string_lossy(), context.work.join("on-btrfs"));
    run("mkfs.btrfs", ["--quiet", &disk])?;
    setup::create_dir(&target)?;
    run("mount", ["-o", "loop", &disk, &target.to_string_lossy()])?;
    let filesystem = Mount::adopt(&target);
    let (directory, store) = (filesystem.join("image"), filesystem.join("store"));
    let source = context.work.join("source");
    let image = build_into(&setup::mkcomposefs(), &source, &directory, &store, &[])?;
    ensure!(
        image.digest == context.image.digest,
        "another digest on btrfs"
    );
    setup::drop_caches()?;
    context.works(&image.request())?;
    let image_elsewhere = context.bare().digest(&image.digest).basedir(&store);
    context.works(&image_elsewhere)
}

/// A source that is no regular file does not hang the mount.
fn special_sources(context: &mut Context) -> Result<()> {
    let fifo = context.work.join("fifo");
    mknodat(CWD, &fifo, FileType::Fifo, Mode::from_raw_mode(0o600), 0)?;
    for source in [
        fifo.as_path(),
        Path::new("/dev/null"),
        Path::new("/proc/version"),
    ] {
        let request = Request::new(source).basedir(&context.image.store);
        match request.at(&context.target()) {
            Err(refusal) if refusal.errno == Errno::INVAL => {}
            Err(refusal) => bail!("{}: {refusal}", source.display()),
            Ok(_) => bail!("{} was mounted", source.display()),
        }
    }
    Ok(())
}

/// An image that has its digest is whole only if all of its objects have theirs.
fn asked_of_objects(context: &mut Context) -> Result<()> {
    let image = context.work.join("no-digest");
    let digest = enable_verity(&image)?;
    let store = context.work.join("no-digest-store");
    let request = || Request::new(&image).basedir(&store);
    context.works(&request())?;
    context.refuses_file(&request().digest(&digest))?;
    for (key, value) in [("verity", "off"), ("verity", "on"), ("verity_check", "1")] {
        let request = request().digest(&digest).set(key, value);
        request.refused(&context.target(), Errno::INVAL, &["contradict"])?;
    }
    // What is only compared asks for nothing.
    context.works(&request().set("image_digest", &digest))
}

const CASES: &[Case<Context>] = &[
    ("digest, with and without its algorithm", digest),
    ("every spelling of verity", verity_spellings),
    (
        "objects without fs-verity, at every level of verity",
        verity_of_objects,
    ),
    (
        "files without a digest, at every level of verity",
        files_without_digest,
    ),
    (
        "several basedirs, in one option and in several",
        basedirs::several_basedirs,
    ),
    (
        "the first basedir that has an object provides it",
        basedirs::order_of_basedirs,
    ),
    (
        "basedirs with colons, spaces, commas and line ends",
        basedirs::odd_basedirs,
    ),
    (
        "a wrong object does not hide a right one",
        basedirs::wrong_before_right,
    ),
    ("an object of the wrong size, at verity=off", wrong_size),
    ("a remount asks for more verity, never for less", remount),
    ("an id-mapped mount", id_mapped),
    (
        "a basedir given as a file descriptor",
        basedirs::basedir_descriptor,
    ),
    ("relative paths", basedirs::relative_paths),
    (
        "image and store may be renamed and removed meanwhile",
        renamed_and_removed,
    ),
    ("without a basedir", basedirs::without_basedir),
    ("one image, mounted twice", twice),
    ("mount(2) and mount(8)", old_mount_api),
    ("a store on btrfs", btrfs_store),
    ("sources that are no regular files", special_sources),
    ("what digest= asks of objects", asked_of_objects),
];

fn main() -> ExitCode {
    tap::run(set_up, CASES)
}
