// SPDX-License-Identifier: GPL-2.0-only
//! Where the image file may be: on tmpfs, on an overlayfs, in a mounted composefs.
#![forbid(unsafe_code)]

use std::fs::{self, OpenOptions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{bail, ensure, Context as _, Result};
use composefs_selftests::basic_tree::{self, content};
use composefs_selftests::command::{failure, run};
use composefs_selftests::compare::{expect_equal, Links};
use composefs_selftests::fs_context::Refusal;
use composefs_selftests::image::{build, build_composefs_rs, from_dump, Image};
use composefs_selftests::io_uring::RING;
use composefs_selftests::mount::{Mount, Request};
use composefs_selftests::overlay::Overlay;
use composefs_selftests::python;
use composefs_selftests::setup;
use composefs_selftests::tap::{self, Case};
use composefs_selftests::tree::{self, Tree};
use composefs_selftests::verity::{hex_digest, object_path, Algorithm};
use rustix::io::Errno;
use rustix::mount::{mount, MountFlags};

const FILE: &str = "external-4097";

struct Context {
    work: PathBuf,
    image: Image,
    /// What it shows.
    expected: Tree,
}

fn set_up() -> Result<Context> {
    setup::require_driver()?;
    setup::load_module()?;
    setup::modprobe("overlay")?;
    let work = setup::work_directory("image-file")?;
    let image = basic_tree::build_image(&work)?;
    let mounted = image.request().at(&work.join("mount"))?;
    let expected = tree::read(mounted.root())?;
    Ok(Context {
        work,
        image,
        expected,
    })
}

impl Context {
    fn directory(&self, name: &str) -> Result<PathBuf> {
        let path = self.work.join(name);
        setup::create_dir(&path)?;
        Ok(path)
    }

    fn target(&self) -> PathBuf {
        self.work.join("mount")
    }

    /// The mount is made, and shows what the image does where it was made.
    fn shows_the_same(&self, request: &Request) -> Result<()> {
        let mounted = request.at(&self.target())?;
        for _ in 0..2 {
            expect_equal(&self.expected, &tree::read(mounted.root())?, Links::Files)?;
            setup::drop_caches()?;
        }
        mounted.unmount()
    }
}

fn refused(result: Result<Mount, Refusal>, errno: Errno, words: &[&str]) -> Result<()> {
    match result {
        Ok(_) => bail!("it was mounted"),
        Err(refusal) => {
            let says = |word: &&str| refusal.message().is_some_and(|text| text.contains(*word));
            ensure!(
                refusal.errno == errno && words.iter().all(says),
                "expected {errno} and a message with {words:?}: {refusal}"
            );
        }
    }
    Ok(())
}

/// What is registered with io_uring can be written to after all that shows a writer is gone. While
/// a directory is read, which waits for the memory it is read into, a name is changed that comes
/// later in the same block of the image.
const CHANGE: &str = include_str!("../../python/change_tmpfs.py");

/// The driver looks at bytes that do not change while it does.
fn changed_meanwhile(context: &mut Context) -> Result<()> {
    let directory = context.directory("tmpfs")?;
    mount("tmpfs", &directory, "tmpfs", MountFlags::empty(), c"")?;
    let tmpfs = Mount::adopt(&directory);
    let image = tmpfs.join("image");
    let lines: String = (0..300)
        .map(|number| format!("/entry-{number:04} 0 100644 1 0 0 0 0.0 - - -\n"))
        .collect();
    from_dump(&image, &lines)?;
    let target = context.target();
    python::run(&format!("{RING}{CHANGE}"), &[&image, &target]).map(drop)
}

/// As in a container, whose root is an overlayfs: in the lower layer, and in the upper one.
fn on_overlayfs(context: &mut Context) -> Result<()> {
    let lower = context.directory("lower")?;
    fs::copy(&context.image.file, lower.join("below"))?;
    let overlay = Overlay::new(&context.work, "overlay", &[&lower], "")?.mount()?;
    fs::copy(&context.image.file, overlay.join("above"))?;
    for name in ["below", "above"] {
        let image = overlay.join(name);
        let request = Request::new(&image).basedir(&context.image.store);
        context.shows_the_same(&request).context(name)?;
        refused(
            request.digest(&context.image.digest).at(&context.target()),
            Errno::BADMSG,
            &[&image.to_string_lossy(), "fs-verity", &context.image.digest],
        )
        .context(name)?;
    }
    // Nobody writes to it meanwhile, and it may be copied up.
    let image = overlay.join("below");
    let request = Request::new(&image).basedir(&context.image.store);
    let mounted = request.at(&context.target())?;
    let written = OpenOptions::new().append(true).open(&image);
    let errno = written.map(drop).map_err(|error| error.raw_os_error());
    ensure!(
        errno == Err(Some(Errno::TXTBSY.raw_os_error())),
        "opened for writing: {errno:?}"
    );
    fs::set_permissions(&image, PermissionsExt::from_mode(0o640))?;
    setup::drop_caches()?;
    expect_equal(
        &context.expected,
        &tree::read(mounted.root())?,
        Links::Files,
    )?;
    mounted.unmount()?;
    let writer = OpenOptions::new().append(true).open(&image)?;
    refused(request.at(&context.target()), Errno::TXTBSY, &["writing"])?;
    drop(writer);
    context.shows_the_same(&request)
}

/// Where fs-verity keeps everybody from writing, the mount keeps them from nothing else.
fn nothing_is_denied_twice(context: &mut Context) -> Result<()> {
    let request = context.image.request();
    let mount = request.at(&context.target())?;
    let mut truncate = Command::new("python3");
    truncate.args(["-c", "import os, sys; os.truncate(sys.argv[1], 0)"]);
    let said = failure(truncate.arg(&context.image.file))?;
    ensure!(said.contains("Operation not permitted"), "{said}");
    mount.unmount()
}

/// The image and its store are an overlayfs's, too: nothing there has fs-verity.
fn with_its_store_on_overlayfs(context: &mut Context) -> Result<()> {
    let overlay = Overlay::new(&context.work, "all", &[&context.work], "")?.mount()?;
    let request = Request::new(&overlay.join("image"))
        .basedir(&overlay.join("store"))
        .set("verity", "off");
    context.shows_the_same(&request)
}

/// An image that holds the image and the store of [`Context`], mounted.
fn outer(context: &Context, level: &str) -> Result<Mount> {
    let directory = context.directory("outer")?;
    let source = directory.join("source");
    if !source.exists() {
        setup::create_dir(&source)?;
        for part in [&context.image.file, &context.image.store] {
            let (from, to) = (part.to_string_lossy(), source.to_string_lossy());
            run("cp", ["-r", "--no-preserve=all", &from, &to])?;
        }
        build(&setup::mkcomposefs(), &source, &directory, &[])?;
    }
    let request = Request::new(&directory.join("image")).basedir(&directory.join("store"));
    Ok(request.set("verity", level).at(&directory.join("mount"))?)
}

/// The content by way of a mapping, and its digest.
const MAP: &str = include_str!("../../python/map_two.py");

/// An image in an image: what fs-verity says of the object is true of the file that shows it.
fn in_composefs(context: &mut Context) -> Result<()> {
    for level in ["require", "off"] {
        let outer = outer(context, level)?;
        let inner = Request::new(&outer.join("image")).basedir(&outer.join("store"));
        for request in [
            inner.clone(),
            inner.clone().set("verity", "require"),
            inner.clone().digest(&context.image.digest),
            inner.clone().set("verity", "off"),
        ] {
            context.shows_the_same(&request).context(level)?;
            let mounted = request.at(&context.target())?;
            python::run(MAP, &[mounted.join("external-1m"), outer.join("store")]).context(level)?;
        }
        let other = hex_digest(Algorithm::Sha256, b"other");
        refused(
            inner.digest(&other).at(&context.target()),
            Errno::BADMSG,
            &[&context.image.digest, &other],
        )?;
    }
    Ok(())
}

/// An object in an image that is another than the inner image wants.
fn wrong_object_in_composefs(context: &mut Context) -> Result<()> {
    let directory = context.directory("wrong")?;
    let source = directory.join("source");
    let path = object_path(&hex_digest(Algorithm::Sha256, &content(FILE)));
    let object = source.join(&path);
    setup::create_dir(object.parent().context("parent")?)?;
    let mut bytes = content(FILE);
    bytes.reverse();
    fs::write(&object, bytes)?;
    let image = build(&setup::mkcomposefs(), &source, &directory, &[])?;
    let outer = image.request().at(&directory.join("mount"))?;
    let request = Request::new(&context.image.file).basedir(outer.root());
    for request in [request.clone(), request.set("verity", "require")] {
        let mounted = request.at(&context.target())?;
        let errno = fs::read(mounted.join(FILE)).map_err(|error| error.raw_os_error());
        ensure!(
            errno == Err(Some(Errno::IO.raw_os_error())),
            "{errno:?}, expected EIO"
        );
    }
    Ok(())
}

/// An image so small that it is in the metadata of another.
fn inline_in_composefs(context: &mut Context) -> Result<()> {
    let directory = context.directory("small")?;
    let source = directory.join("source");
    setup::create_dir(&source)?;
    fs::write(source.join("file"), "in an image in an image")?;
    let small = build_composefs_rs(Algorithm::Sha256, "2", &source, &directory)?;
    let bytes = fs::read(&small.file)?;
    ensure!(bytes.len() <= 4096, "the image has {} bytes", bytes.len());
    let escaped: String = bytes.iter().map(|byte| format!("\\x{byte:02x}")).collect();
    let outer = directory.join("outer");
    from_dump(
        &outer,
        &format!("/image {} 100644 1 0 0 0 0.0 - {escaped} -\n", bytes.len()),
    )?;
    let outer = Request::new(&outer).at(&directory.join("mount"))?;
    let inner = Request::new(&outer.join("image"));
    let mounted = inner.at(&context.target())?;
    for _ in 0..2 {
        let read = fs::read_to_string(mounted.join("file"))?;
        ensure!(read == "in an image in an image", "{read:?}");
        setup::drop_caches()?;
    }
    mounted.unmount()?;
    refused(
        inner.digest(&small.digest).at(&context.target()),
        Errno::BADMSG,
        &["fs-verity"],
    )
}

/// An image that holds itself can be mounted from within itself, and so on, but not for ever.
fn in_itself(context: &mut Context) -> Result<()> {
    let store = context.directory("self")?;
    let image = store.join("image");
    for _ in 0..2 {
        let size = fs::metadata(&image).map_or(0, |metadata| metadata.len());
        from_dump(
            &image,
            &format!("/image {size} 100644 1 0 0 0 0.0 image - -\n"),
        )?;
    }
    let mut mounts: Vec<Mount> = Vec::new();
    let mut inside = store;
    let refusal = loop {
        let target = context.work.join(format!("level-{}", mounts.len()));
        match Request::new(&inside.join("image"))
            .basedir(&inside)
            .at(&target)
        {
            Ok(mount) => mounts.push(mount),
            Err(refusal) => break refusal,
        }
        inside = target;
        ensure!(
            fs::read(inside.join("image"))? == fs::read(&image)?,
            "content"
        );
        ensure!(mounts.len() < 10, "there is no end to it");
    };
    ensure!(mounts.len() >= 2, "{refusal}");
    ensure!(
        refusal
            .message()
            .is_some_and(|text| text.contains("stacked")),
        "{refusal}"
    );
    while let Some(mount) = mounts.pop() {
        mount.unmount()?;
    }
    Ok(())
}

/// What is no file to read from is refused in words.
fn no_file(context: &mut Context) -> Result<()> {
    let directory = context.work.to_string_lossy();
    for (path, words) in [
        (&*directory, "regular file"),
        ("/dev/null", "regular file"),
        ("/proc/self/status", "can be read"),
        ("/sys/kernel/notes", ""),
    ] {
        let result = Request::new(Path::new(path)).at(&context.target());
        refused(result, Errno::INVAL, &[path, words]).context(path.to_owned())?;
    }
    Ok(())
}

const CASES: &[Case<Context>] = &[
    ("on tmpfs, changed while it is looked at", changed_meanwhile),
    ("with fs-verity, which suffices", nothing_is_denied_twice),
    ("on an overlayfs", on_overlayfs),
    (
        "with its store on an overlayfs",
        with_its_store_on_overlayfs,
    ),
    ("in a composefs, with its store", in_composefs),
    ("a wrong object in a composefs", wrong_object_in_composefs),
    ("in the metadata of a composefs", inline_in_composefs),
    ("in itself", in_itself),
    ("what is no file", no_file),
];

fn main() -> ExitCode {
    tap::run(set_up, CASES)
}
