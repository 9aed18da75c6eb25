// SPDX-License-Identifier: GPL-2.0-only
//! Whatever a mount reads, it reads with the rights of whoever has mounted it: root without those to
//! read every file has no others here, and whoever uses the mount brings none.
#![forbid(unsafe_code)]

use std::fs::{self, File};
use std::os::unix::fs::{chown, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{anyhow, ensure, Context as _, Result};
use composefs_selftests::basic_tree::{self, content, expect_content};
use composefs_selftests::command::{failure, output};
use composefs_selftests::fs_context::FsContext;
use composefs_selftests::image::{from_dump, Image};
use composefs_selftests::kernel_log::of_failing_open;
use composefs_selftests::mount::Mount;
use composefs_selftests::setup;
use composefs_selftests::tap::{self, note, Case};
use rustix::io::Errno;
use rustix::process::Uid;
use rustix::thread::{capabilities, set_capabilities, set_thread_res_uid, CapabilitySet};

/// The file whose object suffers, and one that is left alone.
const FILE: &str = "external-8192";
const OTHER: &str = "external-4096";

struct Context {
    work: PathBuf,
    image: Image,
}

fn set_up() -> Result<Context> {
    setup::require_driver()?;
    setup::load_module()?;
    let work = setup::work_directory("credentials")?;
    let image = basic_tree::build_image(&work)?;
    Ok(Context { work, image })
}

/// A command of root's, who may mount, but has to be let to read like everyone else.
fn limited(program: &str) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--bounding-set=-dac_override,-dac_read_search", program]);
    command
}

/// Lets nobody but its owner, who is not root, read a file, or search a directory; `with` runs
/// meanwhile.
fn closed(path: &Path, with: impl FnOnce() -> Result<()>) -> Result<()> {
    let set = |owner: u32, mode: u32| {
        chown(path, Some(owner), Some(owner))?;
        fs::set_permissions(path, PermissionsExt::from_mode(mode))
    };
    let mode = fs::metadata(path)?.permissions().mode();
    set(1000, 0o600)?;
    let result = with();
    set(0, mode)?;
    result.with_context(|| path.display().to_string())
}

impl Context {
    fn target(&self) -> PathBuf {
        self.work.join("mount")
    }

    fn command(&self, options: &str) -> Result<Command> {
        setup::create_dir(&self.target())?;
        let mut mount = limited("mount");
        mount.args(["-i", "-t", "composefs", "-o", options]);
        mount.arg(&self.image.file).arg(self.target());
        Ok(mount)
    }

    /// Mounted by limited root, with the store and more options.
    fn mounted(&self, options: &str) -> Result<Mount> {
        let options = format!("basedir={},{options}", self.image.store.display());
        output(&mut self.command(&options)?)?;
        Ok(Mount::adopt(&self.target()))
    }

    /// Limited root cannot mount it, because of this file.
    fn is_refused(&self, options: &str, file: &Path) -> Result<()> {
        let said = failure(&mut self.command(options)?)?;
        note(&said);
        let about = file.to_string_lossy();
        ensure!(said.contains("EACCES") && said.contains(&*about), "{said}");
        Ok(())
    }

    /// The file cannot be opened, by nobody, because the mounter may not read something.
    fn is_closed(&self, mount: &Mount) -> Result<()> {
        let said = of_failing_open(&mount.join(FILE), Errno::ACCESS)?.concat();
        ensure!(said.contains("cannot be opened: EACCES"), "{said}");
        Ok(())
    }
}

fn objects(context: &mut Context) -> Result<()> {
    let object = context.image.object(&content(FILE));
    let directory = object.parent().context("parent")?;
    for what in [&*object, directory, &context.image.store] {
        for level in ["verity=off", "verity=on", "verity=require"] {
            closed(what, || {
                failure(limited("cat").arg(&object))?;
                let mount = context.mounted(level)?;
                context.is_closed(&mount)?;
                if what == object {
                    expect_content(mount.root(), OTHER)?;
                }
                basic_tree::expect_content(mount.root(), "inline-64")?;
                mount.unmount()
            })
            .context(level)?;
        }
        // Not because something else is wrong.
        let mount = context.mounted("verity=require")?;
        expect_content(mount.root(), FILE)?;
        mount.unmount()?;
    }
    Ok(())
}

/// Who opens a file needs no right to its object, if who has mounted it has one.
fn others_rights(context: &mut Context) -> Result<()> {
    let object = context.image.object(&content(FILE));
    for what in [&*object, &context.image.store] {
        let mount = context.image.request().at(&context.target())?;
        closed(what, || {
            failure(limited("cat").arg(&object))?;
            let size = output(limited("wc").arg("-c").arg(mount.join(FILE)))?;
            ensure!(size.starts_with("8192 "), "{size}");
            Ok(())
        })?;
        mount.unmount()?;
    }
    Ok(())
}

/// One that cannot be read does not hide one that can.
fn next_basedir(context: &mut Context) -> Result<()> {
    let copy = context.work.join("copy");
    setup::create_dir(&copy)?;
    let object = context.image.object(&content(FILE));
    let options = format!(
        "basedir={}:{}",
        copy.display(),
        context.image.store.display()
    );
    let place = copy.join(object.strip_prefix(&context.image.store)?);
    setup::create_dir(place.parent().context("parent")?)?;
    fs::write(&place, content(FILE))?;
    closed(&place, || {
        output(&mut context.command(&options)?)?;
        let mount = Mount::adopt(&context.target());
        expect_content(mount.root(), FILE)?;
        mount.unmount()
    })
}

fn image(context: &mut Context) -> Result<()> {
    let image = &context.image.file;
    for options in [
        "verity=on".to_owned(),
        format!("digest={}", context.image.digest),
    ] {
        closed(image, || context.is_refused(&options, image))?;
        output(&mut context.command(&options)?)?;
        Mount::adopt(&context.target()).unmount()?;
    }
    Ok(())
}

fn signature(context: &mut Context) -> Result<()> {
    let signature = context.work.join("signature");
    fs::write(&signature, "")?;
    let options = format!("signature={}", signature.display());
    closed(&signature, || context.is_refused(&options, &signature))?;
    let said = failure(&mut context.command(&options)?)?;
    ensure!(said.contains("is empty"), "{said}");
    Ok(())
}

fn basedir(context: &mut Context) -> Result<()> {
    let outer = context.work.join("outer");
    let inner = outer.join("inner");
    setup::create_dir(&inner)?;
    let options = format!("basedir={}", inner.display());
    closed(&outer, || context.is_refused(&options, &inner))?;
    output(&mut context.command(&options)?)?;
    Mount::adopt(&context.target()).unmount()
}

/// Runs something without the rights that root has to every file.
fn lowered<R>(run: impl FnOnce() -> R) -> Result<R> {
    let all = capabilities(None)?;
    let mut fewer = all;
    fewer
        .effective
        .remove(CapabilitySet::DAC_OVERRIDE | CapabilitySet::DAC_READ_SEARCH);
    set_capabilities(None, fewer)?;
    let result = run();
    set_capabilities(None, all)?;
    Ok(result)
}

/// Of two who make a mount together, it is the one who has begun whose rights count: neither lends
/// the other any.
fn begun_by_another(context: &mut Context) -> Result<()> {
    let (image, store) = (&context.image.file, &context.image.store);
    let object = context.image.object(&content(FILE));
    let begin = || -> Result<FsContext> {
        let begun = FsContext::open("composefs")?;
        begun.set_string("source", &image.to_string_lossy())?;
        begun.set_string("basedir", &store.to_string_lossy())?;
        Ok(begun)
    };
    let mounted = |begun: &FsContext| -> Result<Mount> {
        begun.attach(&context.target())?;
        Ok(Mount::adopt(&context.target()))
    };
    closed(image, || {
        let refusal = lowered(begin)??.create().err();
        let refusal = refusal.context("mounted with the rights of another")?;
        ensure!(refusal.errno == Errno::ACCESS, "{refusal}");
        let begun = begin()?;
        lowered(|| begun.create())??;
        mounted(&begun)?.unmount()
    })?;
    closed(&object, || {
        let begun = begin()?;
        lowered(|| begun.create())??;
        let mount = mounted(&begun)?;
        expect_content(mount.root(), FILE)?;
        mount.unmount()?;
        let begun = lowered(begin)??;
        begun.create()?;
        let mount = mounted(&begun)?;
        context.is_closed(&mount)?;
        mount.unmount()
    })
}

/// Who is not root may read what that user may, whatever it took to mount: a service has capabilities
/// for that, and its callers have none.
fn capabilities_of_users(context: &mut Context) -> Result<()> {
    let object = context.image.object(&content(FILE));
    let set = |mode| fs::set_permissions(&object, PermissionsExt::from_mode(mode));
    set(0o600)?;
    let request = context.image.request();
    let (target, path) = (context.target(), object.clone());
    setup::create_dir(&target)?;
    // Credentials are a thread's.
    let mount = std::thread::spawn(move || {
        let some = CapabilitySet::SYS_ADMIN | CapabilitySet::DAC_READ_SEARCH;
        set_thread_res_uid(None, Uid::from_raw(1000), None)?;
        let mut sets = capabilities(None)?;
        sets.effective = some;
        set_capabilities(None, sets)?;
        fs::read(path)?;
        Ok::<_, anyhow::Error>(request.at(&target)?)
    });
    let mount = mount.join().map_err(|_| anyhow!("the thread died"))??;
    let result = context.is_closed(&mount);
    expect_content(mount.root(), OTHER)?;
    mount.unmount()?;
    set(0o644)?;
    result
}

/// Whoever could not make a device node gets none by mounting an image that has one.
fn devices(context: &mut Context) -> Result<()> {
    let image = context.work.join("device");
    from_dump(&image, "/null 0 20666 1 0 0 259 0.0 - - -\n")?;
    let target = context.target();
    setup::create_dir(&target)?;
    let open = || {
        let opened = File::open(target.join("null"));
        opened.map_err(|error| Errno::from_io_error(&error))
    };
    let mut mount = Command::new("mount");
    mount
        .args(["-i", "-t", "composefs"])
        .arg(&image)
        .arg(&target);
    output(&mut mount)?;
    let mounted = Mount::adopt(&target);
    ensure!(open().is_ok(), "root has no device: {:?}", open());
    mounted.unmount()?;

    let mut mount = Command::new("setpriv");
    mount.args(["--bounding-set=-mknod", "mount", "-i", "-t", "composefs"]);
    output(mount.arg(&image).arg(&target))?;
    let mounted = Mount::adopt(&target);
    let opened = open().map(drop);
    ensure!(opened == Err(Some(Errno::ACCESS)), "{opened:?}");
    mounted.unmount()
}

const CASES: &[Case<Context>] = &[
    ("an object that the mounter may not read", objects),
    ("an object that only the mounter may read", others_rights),
    ("another basedir has one that they may read", next_basedir),
    ("an image that the mounter may not read", image),
    ("a signature that the mounter may not read", signature),
    ("a basedir that the mounter may not reach", basedir),
    ("a mount that another has begun", begun_by_another),
    ("capabilities of who is not root", capabilities_of_users),
    ("devices of who may not make them", devices),
];

fn main() -> ExitCode {
    tap::run(set_up, CASES)
}
