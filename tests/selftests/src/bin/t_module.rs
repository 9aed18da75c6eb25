// SPDX-License-Identifier: GPL-2.0-only
//! Loading and unloading the module.
#![forbid(unsafe_code)]

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{ensure, Context as _, Result};
use composefs_selftests::command::{capture, run};
use composefs_selftests::image::Image;
use composefs_selftests::mount::Request;
use composefs_selftests::setup;
use composefs_selftests::tap::{self, Case};
use composefs_selftests::{basic_tree, tree};

struct Context {
    work: PathBuf,
    image: Image,
}

fn set_up() -> Result<Context> {
    setup::require_driver()?;
    setup::require_module()?;
    setup::load_module()?;
    let work = setup::work_directory("module")?;
    let image = basic_tree::build_image(&work)?;
    Ok(Context { work, image })
}

fn is_loaded() -> bool {
    Path::new("/sys/module/composefs").exists()
}

/// rmmod must fail, because the module is in use.
fn expect_refused(when: &str) -> Result<()> {
    let result = capture(Command::new("rmmod").arg("composefs"))?;
    let message = String::from_utf8_lossy(&result.stderr);
    ensure!(!result.status.success() && is_loaded(), "unloaded {when}");
    ensure!(message.contains("in use"), "{when}: {message}");
    Ok(())
}

fn information(_: &mut Context) -> Result<()> {
    let module = setup::module()?;
    let field = |name: &str| run("modinfo", ["-F", name, &module.to_string_lossy()]);
    ensure!(field("license")? == "GPL", "license: {}", field("license")?);
    ensure!(!field("description")?.is_empty(), "no description");
    let alias = field("alias")?;
    ensure!(
        alias.lines().any(|line| line == "fs-composefs"),
        "alias: {alias}"
    );
    Ok(())
}

fn while_mounted(context: &mut Context) -> Result<()> {
    let mount = context.image.request().at(&context.work.join("mount"))?;
    expect_refused("while mounted")?;
    let file = File::open(mount.join("external-4096"))?;
    expect_refused("while mounted, with a file open")?;
    drop(file);
    tree::read(mount.root())?;
    mount.unmount()
}

fn while_open(context: &mut Context) -> Result<()> {
    let mount = context.image.request().at(&context.work.join("mount"))?;
    let file = File::open(mount.join("external-4096"))?;
    mount.detach()?;
    expect_refused("while a file is open after a lazy unmount")?;
    let mut bytes = vec![0; 4096];
    std::os::unix::fs::FileExt::read_exact_at(&file, &mut bytes, 0)?;
    ensure!(
        bytes == basic_tree::content("external-4096"),
        "content differs"
    );
    Ok(())
}

fn after_use(context: &mut Context) -> Result<()> {
    // Leave inodes of every kind in the caches, then go without dropping them.
    let mount = context.image.request().at(&context.work.join("mount"))?;
    tree::read(mount.root())?;
    mount.unmount()?;
    run("rmmod", ["composefs"])?;
    ensure!(!is_loaded(), "/sys/module/composefs is still there");
    ensure!(!setup::is_registered("composefs")?, "still registered");
    let caches = fs::read_to_string("/proc/slabinfo").context("/proc/slabinfo")?;
    let left = caches.lines().find(|line| line.starts_with("composefs"));
    ensure!(left.is_none(), "a slab cache is left: {left:?}");
    Ok(())
}

fn again(context: &mut Context) -> Result<()> {
    for _ in 0..5 {
        setup::load_module()?;
        let mount = context.image.request().at(&context.work.join("mount"))?;
        ensure!(tree::read(mount.root())?.len() > 10, "an empty tree");
        mount.unmount()?;
        run("rmmod", ["composefs"])?;
    }
    setup::load_module()
}

fn failed_mounts(context: &mut Context) -> Result<()> {
    // Mounts that failed at different depths hold nothing.
    let target = context.work.join("mount");
    let of = |image: &str| Request::new(Path::new(image)).basedir(&context.image.store);
    for broken in [
        context.image.request().set("no-such-option", "1"),
        context.image.request().set("basedir", "/nonexistent"),
        Request::new(&context.image.file).digest(&"0".repeat(64)),
        of("/nonexistent"),
        of("/etc/passwd"),
    ] {
        ensure!(broken.at(&target).is_err(), "mounted");
    }
    run("rmmod", ["composefs"])?;
    setup::load_module()
}

const CASES: &[Case<Context>] = &[
    ("modinfo", information),
    ("unloading is refused while mounted", while_mounted),
    ("unloading is refused while a file is open", while_open),
    ("unloading after use leaves nothing behind", after_use),
    ("loading and unloading again and again", again),
    ("failed mounts do not hold the module", failed_mounts),
];

fn main() -> ExitCode {
    tap::run(set_up, CASES)
}
