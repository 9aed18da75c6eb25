// SPDX-License-Identifier: GPL-2.0-only
//! Mounts for which everything is given as an open file, by `FSCONFIG_SET_FD`.
#![forbid(unsafe_code)]

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{bail, ensure, Result};
use composefs_selftests::basic_tree;
use composefs_selftests::fs_context::{FsContext, Refusal};
use composefs_selftests::image::Image;
use composefs_selftests::mount::{Mount, Request};
use composefs_selftests::mountinfo::mountinfo;
use composefs_selftests::setup;
use composefs_selftests::signing::Pki;
use composefs_selftests::tap::{self, Case};
use rustix::fs::{flock, open, FlockOperation, Mode, OFlags};
use rustix::io::Errno;

const FILE: &str = "external-4097";

struct Context {
    work: PathBuf,
    image: Image,
    signature: PathBuf,
}

/// All of it is below a path that no string of fsconfig(2) can hold.
fn set_up() -> Result<Context> {
    setup::require_driver()?;
    setup::load_module()?;
    let work = setup::work_directory("descriptors")?;
    let deep = work.join("d".repeat(200)).join("e".repeat(200));
    fs::create_dir_all(&deep)?;
    let image = basic_tree::build_image(&deep)?;
    let pki = Pki::of_signer(&work.join("pki"))?;
    let signature = deep.join("signature");
    fs::copy(pki.sign(&image.file, "signer", &[])?, &signature)?;
    Ok(Context {
        work,
        image,
        signature,
    })
}

impl Context {
    fn target(&self) -> PathBuf {
        self.work.join("mount")
    }

    /// A context for a mount of `image`, with the store.
    fn filesystem(&self, image: &File) -> Result<FsContext> {
        let filesystem = FsContext::open("composefs")?;
        filesystem.set_fd("source", image)?;
        filesystem.set_fd("basedir", File::open(&self.image.store)?)?;
        Ok(filesystem)
    }

    fn mounted(&self, filesystem: &FsContext) -> Result<Mount> {
        filesystem.create()?;
        setup::create_dir(&self.target())?;
        filesystem.attach(&self.target())?;
        Ok(Mount::adopt(&self.target()))
    }
}

/// What is said of the mount can be read back, whatever the length.
fn long_paths(context: &mut Context) -> Result<()> {
    let filesystem = context.filesystem(&File::open(&context.image.file)?)?;
    filesystem.set_fd("signature", File::open(&context.signature)?)?;
    let mount = context.mounted(&filesystem)?;
    basic_tree::expect_content(mount.root(), FILE)?;

    let (_, source, options) = mountinfo(mount.root())?;
    ensure!(Path::new(&source) == context.image.file, "{source}");
    for (key, value) in [
        ("basedir", context.image.store.display().to_string()),
        ("signature", context.signature.display().to_string()),
        ("digest", format!("sha256:{}", context.image.digest)),
    ] {
        ensure!(
            options
                .split(',')
                .any(|option| option == format!("{key}={value}")),
            "{key}: {options}"
        );
    }
    Ok(())
}

/// A lock that the opener holds lives as long as the mount.
fn the_very_file(context: &mut Context) -> Result<()> {
    let image = File::open(&context.image.file)?;
    flock(&image, FlockOperation::LockShared)?;
    let mount = context.mounted(&context.filesystem(&image)?)?;
    drop(image);

    let other = File::open(&context.image.file)?;
    let exclusive = FlockOperation::NonBlockingLockExclusive;
    let locked = flock(&other, exclusive);
    ensure!(
        locked == Err(Errno::WOULDBLOCK),
        "while it is mounted: {locked:?}"
    );
    mount.unmount()?;
    // The last reference may be given back a moment later.
    for _ in 0..100 {
        if flock(&other, exclusive).is_ok() {
            return Ok(());
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    bail!("it is still locked after the mount is gone")
}

/// What has its name by then does not matter.
fn not_by_name(context: &mut Context) -> Result<()> {
    let copy = context.work.join("copy");
    fs::copy(&context.image.file, &copy)?;
    let image = File::open(&copy)?;
    fs::remove_file(&copy)?;
    fs::write(&copy, "something else")?;
    let mount = context.mounted(&context.filesystem(&image)?)?;
    basic_tree::expect_content(mount.root(), FILE)?;

    let (_, source, _) = mountinfo(mount.root())?;
    ensure!(
        source == format!("{} (deleted)", copy.display()),
        "{source}"
    );
    Ok(())
}

fn refuses(result: Result<(), Refusal>, errno: Errno, word: &str) -> Result<()> {
    let Err(refusal) = result else {
        bail!("it was taken; expected {errno}");
    };
    ensure!(refusal.errno == errno, "{refusal}; expected {errno}");
    let message = refusal.message().unwrap_or_default();
    ensure!(message.contains(word), "{word:?} is not in {refusal}");
    Ok(())
}

fn bad_files(context: &mut Context) -> Result<()> {
    let work = &context.work;
    let plain = work.join("plain");
    fs::copy(&context.image.file, &plain)?;
    let descriptor = |path: &Path, flags| open(path, flags, Mode::empty());
    for (what, file) in [
        ("a directory", descriptor(work, OFlags::RDONLY)?),
        (
            "a device",
            descriptor(Path::new("/dev/null"), OFlags::RDONLY)?,
        ),
        ("write-only", descriptor(&plain, OFlags::WRONLY)?),
        ("O_PATH", descriptor(&plain, OFlags::PATH)?),
    ] {
        for key in ["source", "signature"] {
            tap::note(format_args!("{key}: {what}"));
            let result = FsContext::open("composefs")?.set_fd(key, &file);
            refuses(result, Errno::INVAL, "not a file that is open for reading")?;
        }
    }
    let writable = descriptor(&plain, OFlags::RDWR)?;
    let filesystem = FsContext::open("composefs")?;
    filesystem.set_fd("source", &writable)?;
    refuses(filesystem.create(), Errno::TXTBSY, "open for writing")
}

fn two_sources(context: &mut Context) -> Result<()> {
    let image = File::open(&context.image.file)?;
    let filesystem = FsContext::open("composefs")?;
    filesystem.set_fd("source", &image)?;
    refuses(
        filesystem.set_fd("source", &image),
        Errno::INVAL,
        "another one was given",
    )?;
    let Err(refusal) = filesystem.set_string("source", "/image") else {
        bail!("a path was taken behind a file");
    };
    ensure!(refusal.errno == Errno::INVAL, "{refusal}");

    let filesystem = FsContext::open("composefs")?;
    filesystem.set_string("source", "/image")?;
    refuses(
        filesystem.set_fd("source", &image),
        Errno::INVAL,
        "another one was given",
    )
}

/// The wrong one is refused as it is by its path.
fn wrong_signature(context: &mut Context) -> Result<()> {
    let filesystem = context.filesystem(&File::open(&context.image.file)?)?;
    filesystem.set_fd("signature", File::open(&context.image.file)?)?;
    refuses(filesystem.create(), Errno::BADMSG, "signature")?;

    let other = context.work.join("signature");
    fs::copy(&context.signature, &other)?;
    let filesystem = context.filesystem(&File::open(&context.image.file)?)?;
    filesystem.set_string("signature", &other.to_string_lossy())?;
    let result = filesystem.set_fd("signature", File::open(&context.signature)?);
    refuses(result, Errno::INVAL, "another signature")
}

/// Of a mount that asked for none as well: whoever collects objects has to know it.
fn digest_of_every_mount(context: &mut Context) -> Result<()> {
    let mount = context.mounted(&context.filesystem(&File::open(&context.image.file)?)?)?;
    let (_, _, options) = mountinfo(mount.root())?;
    let digest = &context.image.digest;
    let shown = format!("image_digest=sha256:{digest}");
    ensure!(
        options.split(',').any(|option| option == shown),
        "{options}"
    );
    ensure!(options.contains("verity=on"), "{options}");
    mount.reconfigure("image_digest", digest)?;
    // It would ask for more of the objects.
    refuses(
        mount.reconfigure("digest", digest),
        Errno::INVAL,
        "cannot be changed",
    )?;
    drop(mount);

    let image = context.work.join("image-copy");
    fs::copy(&context.image.file, &image)?;
    composefs_selftests::image::enable_verity(&image)?;
    let other = Request::new(&image).set("image_digest", &"0".repeat(64));
    other.refused(&context.target(), Errno::BADMSG, &["wrong digest", digest])?;
    // Without fs-verity it has none.
    let plain = context.work.join("unverified");
    fs::copy(&context.image.file, &plain)?;
    let mount = Request::new(&plain).at(&context.target())?;
    let (_, _, options) = mountinfo(mount.root())?;
    ensure!(!options.contains("digest="), "{options}");
    Ok(())
}

const CASES: &[Case<Context>] = &[
    ("paths that no string can hold", long_paths),
    ("the image that is open is kept open", the_very_file),
    ("a file is not looked up again", not_by_name),
    ("files that cannot be read are refused", bad_files),
    ("there is one source", two_sources),
    ("a signature that is none, and two", wrong_signature),
    ("the digest of every mount is shown", digest_of_every_mount),
];

fn main() -> ExitCode {
    tap::run(set_up, CASES)
}
