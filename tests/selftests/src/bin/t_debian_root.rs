// SPDX-License-Identifier: GPL-2.0-only
//! A real root filesystem, this machine's own, through the tool and the driver and back.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use anyhow::{bail, ensure, Result};
use composefs_selftests::compare::{expect_equal, Links};
use composefs_selftests::image::Image;
use composefs_selftests::mount::Mount;
use composefs_selftests::tap::{self, note, Case};
use composefs_selftests::tree::{self, Tree};
use composefs_selftests::{root_image, setup};

struct Context {
    source: Tree,
    image: Image,
    mount: Option<Mount>,
    warm: Option<Tree>,
}

impl Context {
    fn mounted(&self) -> Result<&Mount> {
        match &self.mount {
            Some(mount) => Ok(mount),
            None => bail!("not mounted"),
        }
    }
}

fn set_up() -> Result<Context> {
    setup::load_module()?;
    let (source, image) = root_image::get()?;
    let source = tree::read(&source)?;
    Ok(Context {
        source,
        image,
        mount: None,
        warm: None,
    })
}

fn size(context: &mut Context) -> Result<()> {
    let bytes: u64 = context.source.values().map(|e| e.attributes.size).sum();
    let entries = context.source.len();
    note(format_args!("{entries} entries, {} MiB", bytes >> 20));
    ensure!(entries >= 20_000, "only {entries} entries");
    Ok(())
}

fn mount(context: &mut Context) -> Result<()> {
    let target = setup::scratch().join("root-mount");
    context.mount = Some(context.image.request().at(&target)?);
    Ok(())
}

fn cold(context: &mut Context) -> Result<()> {
    let root = context.mounted()?.root();
    setup::drop_caches()?;
    expect_equal(&context.source, &tree::read(root)?, Links::Ignore)
}

fn warm(context: &mut Context) -> Result<()> {
    let read = tree::read(context.mounted()?.root())?;
    expect_equal(&context.source, &read, Links::Ignore)?;
    context.warm = Some(read);
    Ok(())
}

fn directory_links(context: &mut Context) -> Result<()> {
    setup::require_driver()?;
    let Some(read) = &context.warm else {
        bail!("not read");
    };
    expect_equal(&context.source, read, Links::Directories)
}

fn like_incumbent(context: &mut Context) -> Result<()> {
    let Some(ours) = &context.warm else {
        bail!("not read");
    };
    let target = setup::scratch().join("root-incumbent");
    let incumbent = Mount::incumbent(&context.image.request(), &target)?;
    expect_equal(&tree::read(incumbent.root())?, ours, Links::Ignore)
}

const CASES: &[Case<Context>] = &[
    ("the source has at least 20000 entries", size),
    ("its image mounts with basedir and digest", mount),
    ("cold: every path is as in the source", cold),
    ("warm: every path is as in the source", warm),
    (
        "link counts of directories are as in the source",
        directory_links,
    ),
    (
        "every path is as composefs 1.0.8 mounts the same image",
        like_incumbent,
    ),
];

fn main() -> ExitCode {
    tap::run(set_up, CASES)
}
