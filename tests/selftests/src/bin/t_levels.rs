// SPDX-License-Identifier: GPL-2.0-only
//! How high file systems may be stacked, the driver among them. The kernel allows two levels above
//! the file system at the bottom. A composefs is one of them only if it stands on another stack.
#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{bail, ensure, Result};
use composefs_selftests::basic_tree;
use composefs_selftests::command::run;
use composefs_selftests::fs_context::FsContext;
use composefs_selftests::image::{build, Image};
use composefs_selftests::kernel_log::KernelLog;
use composefs_selftests::mount::{Mount, Request};
use composefs_selftests::overlay::Overlay;
use composefs_selftests::setup;
use composefs_selftests::tap::{self, Case, Skip};

struct Context {
    work: PathBuf,
    image: Image,
    /// The source of an image that holds `image` and its store.
    source: PathBuf,
    outer: Image,
}

fn set_up() -> Result<Context> {
    setup::require_driver()?;
    setup::load_module()?;
    setup::modprobe("overlay")?;
    let work = setup::work_directory("levels")?;
    let image = basic_tree::build_image(&work)?;
    let source = work.join("both");
    setup::create_dir(&source)?;
    for part in [&image.file, &image.store] {
        let (from, to) = (part.to_string_lossy(), source.to_string_lossy());
        run("cp", ["-r", "--no-preserve=all", &from, &to])?;
    }
    let outer = build(&setup::mkcomposefs(), &source, &work.join("outer"), &[])?;
    Ok(Context {
        work,
        image,
        source,
        outer,
    })
}

/// What is mounted, the lowest first.
#[derive(Default)]
struct Stack(Vec<Mount>);

impl Stack {
    fn top(&self) -> &Path {
        self.0.last().map_or(Path::new("/"), Mount::root)
    }

    fn push(&mut self, mount: Mount) -> Result<()> {
        self.0.push(mount);
        Ok(())
    }

    /// The tree is there, however it is read.
    fn shows_tree(&self) -> Result<()> {
        setup::drop_caches()?;
        for (name, _) in basic_tree::FILES {
            basic_tree::expect_content(self.top(), name)?;
        }
        run(
            "cmp",
            [self.top().join("link"), self.top().join("external-4096")],
        )
        .map(drop)
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        while self.0.pop().is_some() {}
    }
}

impl Context {
    fn composefs(&self, name: &str, request: &Request) -> Result<Mount> {
        Ok(request.at(&self.work.join(name))?)
    }

    /// As many overlays as the kernel allows on top of `stack`; each shows the tree.
    fn overlays_on(&self, stack: &mut Stack) -> Result<usize> {
        for count in 0.. {
            stack.shows_tree()?;
            let name = format!("overlay-{count}");
            let mut log = KernelLog::follow()?;
            match Overlay::new(&self.work, &name, &[stack.top()], "")?.mount() {
                Ok(mount) => stack.push(mount)?,
                Err(error) => {
                    let messages = log.read()?;
                    ensure!(
                        messages
                            .iter()
                            .any(|text| text.contains("maximum fs stacking depth exceeded")),
                        "{error:#}; {messages:?}"
                    );
                    return Ok(count);
                }
            }
        }
        bail!("there is no end to it")
    }

    /// The image and the store of a composefs in `directory`.
    fn inside(&self, directory: &Path) -> Request {
        Request::new(&directory.join("image"))
            .basedir(&directory.join("store"))
            .set("verity", "off")
    }

    /// An EROFS in a file at `file`, which holds what `source` does, mounted without a device.
    fn erofs(&self, name: &str, file: &Path) -> Result<Mount> {
        let target = self.work.join(name);
        setup::create_dir(&target)?;
        let context = FsContext::open("erofs")?;
        context.set_string("source", &file.to_string_lossy())?;
        context.create()?;
        context.attach(&target)?;
        Ok(Mount::adopt(&target))
    }

    fn make_erofs(&self, file: &Path) -> Result<()> {
        if setup::modprobe("erofs").is_err() {
            return Err(Skip("no erofs".into()).into());
        }
        let (file, source) = (file.to_string_lossy(), self.source.to_string_lossy());
        run("mkfs.erofs", ["--quiet", &*file, &*source]).map(drop)
    }
}

fn expect(found: usize, expected: usize, what: &str) -> Result<()> {
    ensure!(
        found == expected,
        "{found} overlays on {what}, expected {expected}"
    );
    Ok(())
}

/// What a host with containers and system extensions needs.
fn on_disk(context: &mut Context) -> Result<()> {
    let mut stack = Stack::default();
    stack.push(context.composefs("host", &context.image.request())?)?;
    expect(context.overlays_on(&mut stack)?, 2, "a composefs on ext4")
}

/// composefs 1.0.8 has room for as many: its own overlayfs, with `upperdir`, and another one.
fn as_the_incumbent(context: &mut Context) -> Result<()> {
    setup::require_filled_pages(&context.image.file)?;
    let mut stack = Stack::default();
    let target = context.work.join("incumbent");
    let request = Request::new(&context.image.file).basedir(&context.image.store);
    stack.push(Mount::incumbent(&request, &target)?)?;
    expect(context.overlays_on(&mut stack)?, 1, "composefs 1.0.8")
}

/// An image in an image; what that is on counts.
fn in_composefs(context: &mut Context) -> Result<()> {
    let mut stack = Stack::default();
    stack.push(context.composefs("outer-1", &context.outer.request())?)?;
    let inner = context.inside(stack.top());
    stack.push(context.composefs("inner-1", &inner)?)?;
    expect(
        context.overlays_on(&mut stack)?,
        1,
        "a composefs in another",
    )?;

    // Only the image, or only the store.
    let outer = context.composefs("outer-2", &context.outer.request())?;
    for (image, store) in [
        (&outer.join("image"), &context.image.store),
        (&context.image.file, &outer.join("store")),
    ] {
        let request = Request::new(image).basedir(store).set("verity", "off");
        let mut stack = Stack::default();
        stack.push(context.composefs("inner-2", &request)?)?;
        expect(context.overlays_on(&mut stack)?, 1, "a part in another")?;
    }
    Ok(())
}

fn on_overlayfs(context: &mut Context) -> Result<()> {
    let mut stack = Stack::default();
    stack.push(Overlay::new(&context.work, "first", &[&context.source], "")?.mount()?)?;
    let inner = context.inside(stack.top());
    stack.push(context.composefs("on-overlay", &inner)?)?;
    expect(
        context.overlays_on(&mut stack)?,
        0,
        "a composefs on an overlayfs",
    )?;
    drop(stack);

    let mut stack = Stack::default();
    stack.push(context.composefs("outer-3", &context.outer.request())?)?;
    for name in ["second", "third"] {
        let overlay = Overlay::new(&context.work, name, &[stack.top()], "")?;
        stack.push(overlay.mount()?)?;
    }
    let inner = context.inside(stack.top());
    match inner.at(&context.work.join("too-high")) {
        Ok(_) => bail!("a composefs on two overlayfs on a composefs was mounted"),
        Err(refusal) => ensure!(
            refusal
                .message()
                .is_some_and(|text| text.contains("stacked")),
            "{refusal}"
        ),
    }
    Ok(())
}

/// EROFS on a file reads that file on its reader's stack, and does not count itself.
fn on_erofs(context: &mut Context) -> Result<()> {
    let file = context.work.join("erofs");
    context.make_erofs(&file)?;
    let mut stack = Stack::default();
    stack.push(context.erofs("erofs-1", &file)?)?;
    let inner = context.inside(stack.top());
    stack.push(context.composefs("on-erofs", &inner)?)?;
    expect(
        context.overlays_on(&mut stack)?,
        1,
        "a composefs on EROFS on a file",
    )
}

const CASES: &[Case<Context>] = &[
    ("overlayfs on overlayfs on a composefs", on_disk),
    ("composefs 1.0.8 allows as many", as_the_incumbent),
    ("a composefs in a composefs", in_composefs),
    ("a composefs on an overlayfs", on_overlayfs),
    ("a composefs on EROFS on a file", on_erofs),
];

fn main() -> ExitCode {
    tap::run(set_up, CASES)
}
