// SPDX-License-Identifier: GPL-2.0-only
//! Objects that are missing or wrong: opening the file fails with EIO, one line in the kernel log
//! says why, and nothing else is affected. What may not be opened fails with the error that says so.
#![forbid(unsafe_code)]

use std::fs::{self, File};
use std::os::unix::fs::{symlink, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{bail, ensure, Context as _, Result};
use composefs_selftests::basic_tree::{self, content};
use composefs_selftests::disk::Disk;
use composefs_selftests::image::{enable_verity, replace, Image};
use composefs_selftests::kernel_log::KernelLog;
use composefs_selftests::mount::{Mount, Request};
use composefs_selftests::tap::{self, Case};
use composefs_selftests::verity::{hex_digest, object_path, Algorithm};
use composefs_selftests::{command, kernel_log, python, setup};
use rustix::io::Errno;

/// The file whose object suffers, and one that is left alone.
const FILE: &str = "external-8192";
const OTHER: &str = "external-4096";

struct Context {
    image: Image,
    mount: Mount,
    object: PathBuf,
    digest: String,
}

fn set_up() -> Result<Context> {
    // Overlayfs fails with ENOENT, or remembers.
    setup::require_driver()?;
    setup::load_module()?;
    let work = setup::work_directory("object-errors")?;
    let image = basic_tree::build_image(&work)?;
    let mount = image.request().at(&work.join("mount"))?;
    Ok(Context {
        object: image.object(&content(FILE)),
        digest: hex_digest(Algorithm::Sha256, &content(FILE)),
        image,
        mount,
    })
}

impl Context {
    /// Runs `damage`; then the file cannot be opened, with a message that has all of `words`, and
    /// nothing else is affected. Then repairs it, and the file can be read.
    fn refused(&self, words: &[&str], damage: impl FnOnce() -> Result<()>) -> Result<()> {
        ensure!(fs::read(self.mount.join(FILE))? == content(FILE), "before");
        damage()?;
        // Forget the good object.
        setup::drop_caches()?;
        let result = self.expect_refusal(words);
        self.repair()?;
        result?;
        let read = fs::read(self.mount.join(FILE)).context("after the repair")?;
        ensure!(read == content(FILE), "content differs after the repair");
        Ok(())
    }

    fn expect_refusal(&self, words: &[&str]) -> Result<()> {
        let messages = kernel_log::of_failing_open(&self.mount.join(FILE), Errno::IO)?;
        let complete = |message: &&String| words.iter().all(|word| message.contains(word));
        match messages.iter().find(complete) {
            Some(message) => tap::note(message),
            None => bail!("no message with {words:?} in the kernel log: {messages:?}"),
        }
        // Its attributes are in the image, and all other files are as they were.
        let length = fs::metadata(self.mount.join(FILE))?.len();
        ensure!(length == content(FILE).len() as u64, "its length: {length}");
        ensure!(fs::read(self.mount.join(OTHER))? == content(OTHER), OTHER);
        let inline = fs::read(self.mount.join("inline-64"))?;
        ensure!(inline == content("inline-64"), "inline-64");
        Ok(())
    }

    /// Puts the right object back, whatever is in its place or its directory's.
    fn repair(&self) -> Result<()> {
        let parent = self.object.parent().context("parent")?;
        if parent.is_symlink() {
            fs::remove_file(parent)?;
            fs::create_dir(parent)?;
        }
        if self.object.is_dir() && !self.object.is_symlink() {
            fs::remove_dir(&self.object)?;
        } else if self.object.symlink_metadata().is_ok() {
            fs::remove_file(&self.object)?;
        }
        fs::write(&self.object, content(FILE))?;
        enable_verity(&self.object)?;
        Ok(())
    }
}

fn missing(context: &mut Context) -> Result<()> {
    let path = object_path(&context.digest);
    context.refused(&[&path], || Ok(fs::remove_file(&context.object)?))
}

fn without_verity(context: &mut Context) -> Result<()> {
    let path = object_path(&context.digest);
    context.refused(&[&path, "fs-verity"], || {
        replace(&context.object, &content(FILE))
    })
}

fn changed_without_verity(context: &mut Context) -> Result<()> {
    let path = object_path(&context.digest);
    context.refused(&[&path, "fs-verity"], || {
        let mut changed = content(FILE);
        changed[5000] ^= 1;
        replace(&context.object, &changed)
    })
}

fn wrong_digest(context: &mut Context) -> Result<()> {
    let mut changed = content(FILE);
    changed[5000] ^= 1;
    let found = hex_digest(Algorithm::Sha256, &changed);
    let path = object_path(&context.digest);
    context.refused(&[&path, &context.digest, &found], || {
        replace(&context.object, &changed)?;
        enable_verity(&context.object)?;
        Ok(())
    })
}

/// The object of another file, complete with fs-verity: valid, but not this file.
fn another_object(context: &mut Context) -> Result<()> {
    let path = object_path(&context.digest);
    let found = hex_digest(Algorithm::Sha256, &content(OTHER));
    context.refused(&[&path, &context.digest, &found], || {
        fs::remove_file(&context.object)?;
        fs::hard_link(context.image.object(&content(OTHER)), &context.object)?;
        Ok(())
    })
}

fn other_algorithm(context: &mut Context) -> Result<()> {
    let path = object_path(&context.digest);
    let found = hex_digest(Algorithm::Sha512, &content(FILE));
    context.refused(&[&path, &context.digest, &found], || {
        replace(&context.object, &content(FILE))?;
        let object = context.object.to_string_lossy();
        command::run("fsverity", ["enable", "--hash-alg=sha512", &object])?;
        Ok(())
    })
}

fn truncated(context: &mut Context) -> Result<()> {
    let path = object_path(&context.digest);
    context.refused(&[&path], || {
        replace(&context.object, &content(FILE)[..8191])?;
        enable_verity(&context.object)?;
        Ok(())
    })
}

fn directory(context: &mut Context) -> Result<()> {
    let path = object_path(&context.digest);
    context.refused(&[&path], || {
        fs::remove_file(&context.object)?;
        Ok(fs::create_dir(&context.object)?)
    })
}

/// A symlink is not followed, not even to the right object.
fn link(context: &mut Context) -> Result<()> {
    let path = object_path(&context.digest);
    let aside = context.image.store.join("aside");
    context.refused(&[&path], || {
        fs::rename(&context.object, &aside)?;
        Ok(symlink(&aside, &context.object)?)
    })
}

fn linked_directory(context: &mut Context) -> Result<()> {
    let path = object_path(&context.digest);
    let parent = context.object.parent().context("parent")?.to_owned();
    context.refused(&[&path], || {
        let aside = context.image.store.join("aside-directory");
        fs::rename(&parent, &aside)?;
        Ok(symlink(&aside, &parent)?)
    })
}

/// Whoever has the file open keeps it: the object is theirs until they close it.
fn open_meanwhile(context: &mut Context) -> Result<()> {
    let file = File::open(context.mount.join(FILE))?;
    fs::remove_file(&context.object)?;
    setup::drop_caches()?;
    let mut read = vec![0; content(FILE).len()];
    std::os::unix::fs::FileExt::read_exact_at(&file, &mut read, 0)?;
    ensure!(read == content(FILE), "content differs");
    context.repair()
}

/// A store that is not there at all leaves the tree to look at.
fn empty_store(context: &mut Context) -> Result<()> {
    let work = setup::work_directory("empty-store")?;
    let request = Request::new(&context.image.file);
    let mount = request.basedir(&work).at(&work.join("mount"))?;
    for (name, size) in basic_tree::FILES {
        let path = mount.join(name);
        ensure!(fs::metadata(&path)?.len() == size as u64, "{name}: length");
        match fs::read(&path) {
            Ok(read) => ensure!(size <= 64 && read == content(name), "{name} was read"),
            Err(error) => {
                let errno = Errno::from_io_error(&error);
                ensure!(size > 64 && errno == Some(Errno::IO), "{name}: {error}");
            }
        }
    }
    Ok(())
}

/// Whoever mounts may not read the object: that is no fault of it.
fn forbidden(context: &mut Context) -> Result<()> {
    let target = setup::work_directory("forbidden")?;
    let (image, at) = (context.image.file.display(), target.display());
    fs::set_permissions(&context.object, fs::Permissions::from_mode(0o000))?;
    std::os::unix::fs::chown(&context.object, Some(1000), Some(1000))?;
    let options = format!("basedir={}", context.image.store.display());
    let dropped = "-dac_override,-dac_read_search";
    let arguments = [
        "--bounding-set",
        dropped,
        "--inh-caps",
        dropped,
        "mount",
        "-i",
    ];
    let rest = [
        "-t",
        "composefs",
        "-o",
        &options,
        &image.to_string(),
        &at.to_string(),
    ];
    command::run("setpriv", arguments.iter().chain(&rest))?;
    let mount = Mount::adopt(&target);
    kernel_log::of_failing_open(&mount.join(FILE), Errno::ACCESS)?;
    fs::set_permissions(&context.object, fs::Permissions::from_mode(0o644))?;
    Ok(())
}

/// An object that is encrypted, and its key is not there.
fn locked(context: &mut Context) -> Result<()> {
    let encrypted = |what: &str, path: &Path| {
        python::run(
            include_str!("../../python/encrypted.py"),
            &[Path::new(what), path],
        )
    };
    let work = setup::work_directory("encrypted")?;
    let disk = Disk::with_features(&work, 64 << 20, "verity,encrypt")?;
    let (protected, store) = (disk.root().join("protected"), disk.root().join("store"));
    setup::create_dir(&protected)?;
    encrypted("protect", &protected)?;
    // It keeps its key, but not its secret name.
    let object = store.join(object_path(&context.digest));
    setup::create_dir(object.parent().context("parent")?)?;
    fs::write(protected.join("object"), content(FILE))?;
    fs::rename(protected.join("object"), &object)?;
    enable_verity(&object)?;

    let request = Request::new(&context.image.file).basedir(&store);
    let mount = request.at(&work.join("mount"))?;
    ensure!(fs::read(mount.join(FILE))? == content(FILE), "before");
    setup::drop_caches()?;
    encrypted("lock", disk.root())?;
    kernel_log::of_failing_open(&mount.join(FILE), Errno::NOKEY)?;
    encrypted("unlock", disk.root())?;
    ensure!(fs::read(mount.join(FILE))? == content(FILE), "afterwards");
    Ok(())
}

/// One mount on which file after file cannot be opened does not keep another from saying so.
fn of_another_mount(context: &mut Context) -> Result<()> {
    const TIMES: usize = 200;
    let target = context.image.file.with_file_name("another");
    setup::create_dir(&target)?;
    let other = context.image.request().at(&target)?;
    fs::remove_file(&context.object)?;
    setup::drop_caches()?;
    let fails = |mount: &Mount| match File::open(mount.join(FILE)) {
        Ok(_) => bail!("the file was opened"),
        Err(_) => Ok(()),
    };
    let mut log = KernelLog::follow()?;
    (0..TIMES).try_for_each(|_| fails(&context.mount))?;
    let said = log.read_composefs()?.len();
    ensure!(said < TIMES, "the messages of a mount are not limited");
    fails(&other)?;
    let said = log.read_composefs()?;
    let path = other.join(FILE).display().to_string();
    ensure!(said.iter().any(|line| line.contains(&path)), "{said:?}");
    other.unmount()?;
    context.repair()
}

const CASES: &[Case<Context>] = &[
    ("a missing object", missing),
    ("an object without fs-verity", without_verity),
    ("a changed object without fs-verity", changed_without_verity),
    ("an object with the wrong digest", wrong_digest),
    ("the object of another file", another_object),
    (
        "the right content under another hash algorithm",
        other_algorithm,
    ),
    ("a truncated object", truncated),
    ("a directory in place of an object", directory),
    ("a symlink in place of an object", link),
    (
        "a symlink in place of an object's directory",
        linked_directory,
    ),
    ("two mounts without an object", of_another_mount),
    ("an object that goes while the file is open", open_meanwhile),
    ("an empty store", empty_store),
    ("an object that the mounter may not read", forbidden),
    ("an encrypted object without its key", locked),
];

fn main() -> ExitCode {
    tap::run(set_up, CASES)
}
