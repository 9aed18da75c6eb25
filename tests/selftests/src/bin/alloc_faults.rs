// SPDX-License-Identifier: GPL-2.0-only
//! Every allocation fails once: each operation is made to meet a failure at its first allocation,
//! its second, and so on, until it makes no more. It fails cleanly, and succeeds when tried again.
//! (`Documentation/fault-injection/fault-injection.rst` in the kernel tree: `fail-nth`.)
#![forbid(unsafe_code)]

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{bail, ensure, Context as _, Result};
use composefs_selftests::basic_tree;
use composefs_selftests::fs_context::Refusal;
use composefs_selftests::image::Image;
use composefs_selftests::memory;
use composefs_selftests::mount::{Mount, Request};
use composefs_selftests::signing::{Pki, QUICK};
use composefs_selftests::tap::{self, note, Case, Skip};
use composefs_selftests::{python, setup};
use rustix::fs::{
    fadvise, lgetxattr, llistxattr, lstat, openat, readlink, statfs, Advice, Dir, Mode, OFlags, CWD,
};
use rustix::io::{pread, Errno};
use rustix::mount::UnmountFlags;

/// Far more allocations than any operation makes.
const ENDLESS: usize = 5000;

struct Context {
    work: PathBuf,
    image: Image,
    injector: Injector,
}

fn set_up() -> Result<Context> {
    setup::require_driver()?;
    let injector = Injector::new()?;
    setup::load_module()?;
    let work = setup::work_directory("alloc-faults")?;
    setup::create_dir(&work.join("mount"))?;
    let image = basic_tree::build_image(&work)?;
    Ok(Context {
        work,
        image,
        injector,
    })
}

impl Context {
    fn mount(&self) -> Result<Mount> {
        Ok(self.image.request().at(&self.work.join("mount"))?)
    }
}

/// The kernel's own counter of this thread's allocations down to one that fails.
struct Injector(File);

impl Injector {
    fn new() -> Result<Self> {
        let path = "/proc/thread-self/fail-nth";
        if !Path::new(path).exists() {
            return Err(Skip("the kernel has no fault injection".into()).into());
        }
        // By default, only allocations that may not wait would fail.
        for kind in ["failslab", "fail_page_alloc"] {
            let settings = Path::new("/sys/kernel/debug").join(kind);
            fs::write(settings.join("ignore-gfp-wait"), "N")?;
            fs::write(settings.join("verbose"), "0")?;
        }
        fs::write("/sys/kernel/debug/fail_page_alloc/min-order", "0")?;
        let mut options = OpenOptions::new();
        Ok(Self(options.read(true).write(true).open(path)?))
    }

    fn set(&self, number: usize) -> Result<()> {
        let text = number.to_string();
        self.0.write_all_at(text.as_bytes(), 0).context("fail-nth")
    }

    /// Whether the failure has come; it does not come any more.
    fn has_failed(&self) -> Result<bool> {
        let mut text = [0; 16];
        let length = self.0.read_at(&mut text, 0).context("fail-nth")?;
        self.set(0)?;
        let text = String::from_utf8_lossy(&text[..length]);
        Ok(text.trim_end_matches(['\n', '\0']) == "0")
    }

    /// Makes each allocation of `operation` fail in turn, on what `prepare` makes anew each time.
    /// Returns for how many of them it failed.
    fn each<P>(
        &self,
        name: &str,
        prepare: impl Fn() -> Result<P>,
        operation: impl Fn(&P) -> Result<(), Errno>,
    ) -> Result<usize> {
        let (mut failed, mut survived) = (0, 0);
        for number in 1..ENDLESS {
            let prepared = prepare()?;
            self.set(number)?;
            let result = operation(&prepared);
            if !self.has_failed()? {
                result.with_context(|| format!("{name} without a failure"))?;
                note(format_args!(
                    "{name}: {failed} failed, {survived} went well all the same"
                ));
                return Ok(failed);
            }
            match result {
                Ok(()) => survived += 1,
                Err(Errno::NOMEM) => failed += 1,
                Err(errno) => bail!("{name}: allocation {number} fails: {errno}"),
            }
            operation(&prepared)
                .with_context(|| format!("{name}, again after allocation {number} failed"))?;
        }
        bail!("{name}: there is no end of allocations");
    }
}

fn expect_failures(count: usize) -> Result<()> {
    ensure!(count > 0, "no allocation made it fail");
    Ok(())
}

fn mounting(context: &mut Context) -> Result<()> {
    context.mount_with_failures("mount and unmount", &context.image.request())
}

fn mounting_signed(context: &mut Context) -> Result<()> {
    let pki = Pki::new(&context.work.join("pki"))?;
    pki.certificate("signer", QUICK, "")?;
    pki.trust("signer")?;
    let signature = pki.sign(&context.image.file, "signer", &[])?;
    let request = Request::new(&context.image.file)
        .basedir(&context.image.store)
        .set("signature", &signature.to_string_lossy());
    context.mount_with_failures("mount with a signature", &request)?;
    pki.trust_only(&[])
}

/// What a mount was refused for.
fn failure(refusal: Refusal) -> Errno {
    match refusal.message() {
        // clone_private_mount() says EINVAL when it has no memory.
        Some(message) if message.starts_with("basedir ") && refusal.errno == Errno::INVAL => {
            Errno::NOMEM
        }
        _ => refusal.errno,
    }
}

impl Context {
    fn mount_with_failures(&self, name: &str, request: &Request) -> Result<()> {
        let target = self.work.join("mount");
        let mount = |_: &()| {
            let mount = request.at(&target).map_err(failure)?;
            mount.forget();
            let unmount = || rustix::mount::unmount(&target, UnmountFlags::empty());
            // Once more, so that the next attempt does not find it mounted.
            unmount().or_else(|errno| unmount().and(Err(errno)))
        };
        expect_failures(self.injector.each(name, || Ok(()), mount)?)
    }
}

fn unmounting(context: &mut Context) -> Result<()> {
    let target = context.work.join("mount");
    let prepare = || {
        let mount = context.mount()?;
        fs::read(mount.join("external-4097"))?;
        // What is mounted goes by the operation.
        mount.forget();
        Ok(())
    };
    let unmount = |_: &()| {
        match rustix::mount::unmount(&target, UnmountFlags::empty()) {
            // It went at the first attempt.
            Err(Errno::INVAL) => Ok(()),
            result => result,
        }
    };
    expect_failures(context.injector.each("unmount", prepare, unmount)?)
}

/// An operation on what was just mounted, so that nothing of it is cached.
fn on_new_mount(
    context: &Context,
    name: &str,
    operation: impl Fn(&Path) -> Result<(), Errno>,
) -> Result<()> {
    let prepare = || context.mount();
    let operation = |mount: &Mount| operation(mount.root());
    expect_failures(context.injector.each(name, prepare, operation)?)
}

fn names(context: &mut Context) -> Result<()> {
    on_new_mount(context, "statfs", |root| statfs(root).map(drop))?;
    on_new_mount(context, "lookup", |root| {
        lstat(root.join("external-4097")).map(drop)
    })?;
    on_new_mount(context, "readdir", |root| {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let mut dir = Dir::new(openat(CWD, root, flags, Mode::empty())?)?;
        while let Some(entry) = dir.read() {
            entry?;
        }
        Ok(())
    })?;
    on_new_mount(context, "readlink", |root| {
        readlink(root.join("link"), Vec::with_capacity(300)).map(drop)
    })
}

fn xattrs(context: &mut Context) -> Result<()> {
    on_new_mount(context, "listxattr", |root| {
        llistxattr(root.join("external-4097"), &mut [0; 1024][..]).map(drop)
    })?;
    on_new_mount(context, "getxattr", |root| {
        match lgetxattr(root.join("external-4097"), "user.none", &mut [0; 64][..]) {
            Err(Errno::NODATA) => Ok(()),
            result => result.map(drop),
        }
    })
}

fn content(context: &mut Context) -> Result<()> {
    let open = |path: &Path| openat(CWD, path, OFlags::RDONLY, Mode::empty());
    for name in ["external-4097", "inline-64"] {
        on_new_mount(context, &format!("open of {name}"), |root| {
            open(&root.join(name)).map(drop)
        })?;

        let expected = basic_tree::content(name);
        let mount = context.mount()?;
        let prepare = || {
            let fd = open(&mount.join(name))?;
            // Out of the cache, so that it is read from the disk and checked.
            fadvise(&fd, 0, None, Advice::DontNeed)?;
            Ok(fd)
        };
        let read = |fd: &_| {
            let mut buffer = vec![0; expected.len()];
            let length = pread(fd, &mut buffer[..], 0)?;
            // A short read is how a read that got somewhere tells of a failure.
            match length == expected.len() {
                true => assert_eq!(buffer, expected),
                false => return Err(Errno::NOMEM),
            }
            Ok(())
        };
        // What cannot be read ahead is read when it is asked for, so none need be fatal; and what
        // is in the image is not read into anything that would have to be allocated.
        let read_of = format!("read of {name}");
        context.injector.each(&read_of, prepare, read)?;
    }
    Ok(())
}

const MAP: &str = include_str!("../../python/alloc_faults.py");

fn mappings_and_handles(context: &mut Context) -> Result<()> {
    let mount = context.mount()?;
    note(python::run(MAP, &[mount.root()])?);
    mount.unmount()
}

fn nothing_left(_: &mut Context) -> Result<()> {
    memory::no_inodes()?;
    memory::expect_no_leak()
}

const CASES: &[Case<Context>] = &[
    ("mount", mounting),
    ("mount with a signature", mounting_signed),
    ("unmount", unmounting),
    ("lookup, readdir, readlink and statfs", names),
    ("extended attributes", xattrs),
    ("open and read", content),
    ("mmap, page faults and file handles", mappings_and_handles),
    ("nothing is left", nothing_left),
];

fn main() -> ExitCode {
    tap::run(set_up, CASES)
}
