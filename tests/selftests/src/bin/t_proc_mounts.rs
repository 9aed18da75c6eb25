// SPDX-License-Identifier: GPL-2.0-only
//! How /proc shows a mount.
#![forbid(unsafe_code)]

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{ensure, Context as _, Result};
use composefs_selftests::basic_tree;
use composefs_selftests::image::Image;
use composefs_selftests::mount::Request;
use composefs_selftests::mountinfo::mountinfo;
use composefs_selftests::setup;
use composefs_selftests::tap::{self, Case};

struct Context {
    work: PathBuf,
    target: PathBuf,
    image: Image,
}

fn set_up() -> Result<Context> {
    setup::require_driver()?;
    setup::load_module()?;
    let work = setup::work_directory("proc-mounts")?;
    let image = basic_tree::build_image(&work)?;
    let target = work.join("mount");
    Ok(Context {
        work,
        target,
        image,
    })
}

fn shown_in_proc(context: &mut Context) -> Result<()> {
    let empty = context.work.join("empty store");
    setup::create_dir(&empty)?;
    let store = &context.image.store;
    let request = context.image.request().basedir(&empty);
    let mount = request.at(&context.target)?;
    let (kind, source, options) = mountinfo(mount.root())?;
    tap::note(&options);
    ensure!(kind == "composefs", "type: {kind}");
    ensure!(
        source == context.image.file.to_string_lossy(),
        "source: {source}"
    );
    let (store, empty) = (store.display().to_string(), empty.display().to_string());
    let both = options.contains(&format!("basedir={store}:{empty}"));
    let repeated = options.contains(&format!("basedir={store},basedir={empty}"));
    ensure!(both || repeated, "basedirs: {options}");
    let digest = &context.image.digest;
    ensure!(options.contains(digest.as_str()), "digest: {options}");
    ensure!(options.split(',').any(|o| o == "ro"), "not ro: {options}");
    let mounts = fs::read_to_string("/proc/mounts")?;
    ensure!(mounts.contains(" composefs ro,"), "/proc/mounts:\n{mounts}");
    drop(mount);

    for level in ["off", "on", "require"] {
        let request = Request::new(&context.image.file).basedir(&context.image.store);
        let mount = request.set("verity", level).at(&context.target)?;
        let (_, _, options) = mountinfo(mount.root())?;
        ensure!(options.contains(&format!("verity={level}")), "{options}");
        ensure!(!options.contains(",digest="), "{options}");
        ensure!(
            options.contains(&format!("image_digest=sha256:{digest}")),
            "{options}"
        );
    }
    Ok(())
}

/// Options as /proc/mounts shows them make the same mount again.
fn shown_options_mount(context: &mut Context) -> Result<()> {
    shown_again(context, context.image.request())?;
    shown_again(
        context,
        Request::new(&context.image.file).basedir(&context.image.store),
    )
}

fn shown_again(context: &Context, request: Request) -> Result<()> {
    let odd = context.work.join("a, b:c\\d");
    setup::create_dir(&odd)?;
    let escaped = odd
        .display()
        .to_string()
        .replace('\\', "\\\\")
        .replace(':', "\\:");
    let mount = request.set("basedir", &escaped).at(&context.target)?;
    let (_, _, before) = mountinfo(mount.root())?;
    drop(mount);
    // util-linux splits at commas that are not in quotes; so does this, knowing of one of them.
    let shown = before.strip_prefix("ro,").context("ro first")?;
    let mut request = Request::new(&context.image.file);
    for option in shown.replace("a, b", "a\0 b").split(',') {
        let option = option.replace('\0', ",");
        request = match option.split_once('=') {
            Some((key, value)) => request.set(key, value),
            None => request.flag(&option),
        };
    }
    let mount = request.at(&context.target)?;
    let (_, _, after) = mountinfo(mount.root())?;
    ensure!(before == after, "{before}\nbecame\n{after}");
    let read = fs::read(mount.join("external-4097"))?;
    ensure!(
        read == basic_tree::content("external-4097"),
        "content differs"
    );
    Ok(())
}

const CASES: &[Case<Context>] = &[
    ("it shows what was given", shown_in_proc),
    ("what it shows can be given again", shown_options_mount),
];

fn main() -> ExitCode {
    tap::run(set_up, CASES)
}
