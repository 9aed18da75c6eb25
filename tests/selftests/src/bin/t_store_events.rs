// SPDX-License-Identifier: GPL-2.0-only
//! Fanotify listeners on the store: what they are asked when a file in the mount is used, and what
//! waits for them.
#![forbid(unsafe_code)]

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{ensure, Context as _, Result};
use composefs_selftests::basic_tree::content;
use composefs_selftests::disk::Disk;
use composefs_selftests::image::{build_into, Image};
use composefs_selftests::mount::{Mount, Request};
use composefs_selftests::tap::{self, Case};
use composefs_selftests::{basic_tree, command, python, setup};

const FILE: &str = "external-65537";
const PROGRAM: &str = "program";
const SCRIPT: &str = include_str!("../../python/store_events.py");

struct Context {
    work: PathBuf,
    image: Image,
    // Dropped in this order.
    mount: Mount,
    /// A filesystem of its own for the store, so that nobody else is held up.
    disk: Disk,
}

fn set_up() -> Result<Context> {
    setup::load_module()?;
    let work = setup::work_directory("store-events")?;
    let source = work.join("source");
    basic_tree::create(&source)?;
    fs::write(source.join(PROGRAM), program())?;
    fs::set_permissions(source.join(PROGRAM), fs::Permissions::from_mode(0o755))?;
    let disk = Disk::create(&work, 64 << 20)?;
    let store = disk.root().join("store");
    let image = build_into(&setup::mkcomposefs(), &source, &work, &store, &[])?;
    let mount = image.request().at(&work.join("mount"))?;
    Ok(Context {
        work,
        image,
        mount,
        disk,
    })
}

/// A script, too large for the image.
fn program() -> Vec<u8> {
    format!("#!/bin/true\n{}\n", "#".repeat(100)).into_bytes()
}

impl Context {
    fn script(&self, case: &str, arguments: &[&str]) -> Result<String> {
        self.script_on(FILE, &content(FILE), case, arguments)
    }

    fn script_on(
        &self,
        name: &str,
        content: &[u8],
        case: &str,
        arguments: &[&str],
    ) -> Result<String> {
        let object = self.image.object(content);
        let mut all = vec![case.into(), self.mount.join(name).into_os_string()];
        all.push(object.into_os_string());
        all.extend(arguments.iter().map(|argument| (*argument).into()));
        // The first open of the inode.
        setup::drop_caches()?;
        python::run(SCRIPT, &all)
    }
}

fn between_open_and_mmap(context: &mut Context) -> Result<()> {
    context.script("opened before", &[]).map(drop)
}

/// As overlayfs has it: of each open, whatever the file is used for then, and of each read.
fn asked(context: &mut Context) -> Result<()> {
    let printed = context.script("asked", &["read", "mmap", "mmap", "read"])?;
    let lines: Vec<_> = printed.lines().collect();
    let read = "read OPEN_PERM ACCESS_PERM";
    let expected = [read, "mmap OPEN_PERM", "mmap OPEN_PERM", read];
    ensure!(lines == expected, "{lines:?}, expected {expected:?}");

    let printed = context.script_on(PROGRAM, &program(), "asked", &["exec"])?;
    let expected = "exec OPEN_EXEC_PERM OPEN_PERM ACCESS_PERM";
    ensure!(printed == expected, "{printed}, expected {expected}");
    Ok(())
}

fn refused(context: &mut Context) -> Result<()> {
    context.script("refused", &["read", "mmap"]).map(drop)
}

fn looks_itself(context: &mut Context) -> Result<()> {
    context.script("looks itself", &[]).map(drop)
}

/// An object of holes that a daemon fills when it is asked for the content.
fn filled(context: &mut Context) -> Result<()> {
    let directory = context.disk.root().join("plain");
    setup::create_dir(&directory)?;
    let (whole, stub) = (context.work.join("whole"), directory.join("object"));
    fs::write(&whole, content(FILE))?;
    File::create(&stub)?.set_len(content(FILE).len() as u64)?;
    let image = plain_image(&context.work, content(FILE).len())?;
    let request = Request::new(&image)
        .basedir(&directory)
        .set("verity", "off");
    let mount = request.at(&context.work.join("filled"))?;

    for way in ["read", "mmap"] {
        let (path, whole) = (mount.join("file"), whole.as_path());
        let case = Path::new("filled");
        setup::drop_caches()?;
        python::run(SCRIPT, &[case, &path, &stub, whole, Path::new(way)])
            .with_context(|| way.to_owned())?;
    }
    Ok(())
}

/// An image of one file without a digest.
fn plain_image(work: &Path, size: usize) -> Result<PathBuf> {
    let (dump, image) = (work.join("plain.dump"), work.join("plain"));
    let line = format!("/file {size} 100644 1 0 0 0 0.0 object - -\n");
    fs::write(&dump, format!("/ 0 40755 2 0 0 0 0.0 - - -\n{line}"))?;
    let paths = [&dump, &image].map(|path| path.to_string_lossy().into_owned());
    let [dump, path] = &paths;
    command::run(setup::C_MKCOMPOSEFS, ["--from-file", dump, path])?;
    Ok(image)
}

const CASES: &[Case<Context>] = &[
    ("nobody waits in mmap", between_open_and_mmap),
    ("what is asked of a read and of a mapping", asked),
    ("what is refused to a read and to a mapping", refused),
    ("a listener that reads what it is asked about", looks_itself),
    ("content that comes when it is asked for", filled),
];

fn main() -> ExitCode {
    tap::run(set_up, CASES)
}
