// SPDX-License-Identifier: GPL-2.0-only
//! Where objects are.

use std::fs;
use std::path::Path;

use anyhow::{bail, ensure, Context as _, Result};
use composefs_selftests::basic_tree;
use composefs_selftests::fs_context::FsContext;
use composefs_selftests::image::replace;
use composefs_selftests::kernel_log::of_failing_open;
use composefs_selftests::mount::{Mount, Request};
use composefs_selftests::setup;
use rustix::io::Errno;

use crate::{Context, FILE};

pub fn several_basedirs(context: &mut Context) -> Result<()> {
    let empty = context.work.join("empty");
    setup::create_dir(&empty)?;
    let (a, b) = (
        empty.to_string_lossy(),
        context.image.store.to_string_lossy(),
    );
    for value in [
        format!("{a}:{b}"),
        format!("{b}:{a}"),
        format!("{a}:{a}:{b}"),
    ] {
        context.works(&context.bare().set("basedir", &value))?;
    }
    context.works(&context.bare().set("basedir", &a).set("basedir", &b))?;
    context.works(&context.bare().set("basedir", &b).set("basedir", &a))?;
    context.refuses_file(&context.bare().set("basedir", &a))
}

/// The first basedir that has an object provides it.
pub fn order_of_basedirs(context: &mut Context) -> Result<()> {
    let other = context.plain_store("other-store")?;
    let content = vec![b'o'; basic_tree::content(FILE).len()];
    let relative = context.image.object(&basic_tree::content(FILE));
    let relative = relative.strip_prefix(&context.image.store)?;
    replace(&other.join(relative), &content)?;
    let stores = [&context.image.store, &other];
    for (first, second, expected) in [
        (stores[0], stores[1], basic_tree::content(FILE)),
        (stores[1], stores[0], content),
    ] {
        let request = context.bare().flag("noverity");
        let mount = request
            .basedir(first)
            .basedir(second)
            .at(&context.target())?;
        ensure!(
            fs::read(mount.join(FILE))? == expected,
            "{} first",
            first.display()
        );
    }
    Ok(())
}

/// An object that is not what it should be does not hide one that is.
pub fn wrong_before_right(context: &mut Context) -> Result<()> {
    let other = context.plain_store("wrong-store")?;
    let request = context.bare().basedir(&other).basedir(&context.image.store);
    context.works(&request)?;
    context.refuses_file(&context.bare().basedir(&other))?;
    // Nor is what is wrong with it hidden by a basedir that has none.
    let empty = context.work.join("empty");
    setup::create_dir(&empty)?;
    let request = context.bare().basedir(&other).basedir(&empty);
    let mount = request.at(&context.target())?;
    let said = of_failing_open(&mount.join(FILE), Errno::IO)?.concat();
    ensure!(said.contains("has no fs-verity"), "{said}");
    Ok(())
}

pub fn odd_basedirs(context: &mut Context) -> Result<()> {
    for (name, escaped) in [
        ("co:lon", "co\\:lon"),
        ("with space", "with space"),
        ("com,ma", "com,ma"),
        ("new\nline", "new\nline"),
        ("\u{fc}ml\u{e4}ut", "\u{fc}ml\u{e4}ut"),
    ] {
        let directory = context.work.join("odd");
        let store = directory.join(name);
        setup::create_dir(&directory)?;
        fs::rename(&context.image.store, &store)?;
        let value = format!("{}/{escaped}", directory.display());
        let result = context.works(&context.bare().set("basedir", &value));
        fs::rename(&store, &context.image.store)?;
        result.with_context(|| name.escape_debug().to_string())?;
    }
    Ok(())
}

pub fn basedir_descriptor(context: &mut Context) -> Result<()> {
    let store = fs::File::open(&context.image.store)?;
    let filesystem = FsContext::open("composefs")?;
    filesystem.set_string("source", &context.image.file.to_string_lossy())?;
    filesystem.set_fd("basedir", &store)?;
    filesystem.create()?;
    let target = context.target();
    filesystem.attach(&target)?;
    context.reads(&Mount::adopt(&target))
}

pub fn relative_paths(context: &mut Context) -> Result<()> {
    std::env::set_current_dir(&context.work)?;
    let mount = Request::new(Path::new("image"))
        .set("basedir", "store")
        .at(&context.target())?;
    std::env::set_current_dir("/")?;
    let read = context.reads(&mount);
    std::env::set_current_dir(&context.work)?;
    read
}

pub fn without_basedir(context: &mut Context) -> Result<()> {
    // All that is in the image itself is there.
    let mount = match context.bare().at(&context.target()) {
        Ok(mount) => mount,
        Err(refusal) if refusal.errno == Errno::INVAL => return Ok(()),
        Err(refusal) => bail!("{refusal}"),
    };
    let read = fs::read(mount.join("inline-64"))?;
    ensure!(read == basic_tree::content("inline-64"), "content differs");
    drop(mount);
    context.refuses_file(&context.bare())
}
