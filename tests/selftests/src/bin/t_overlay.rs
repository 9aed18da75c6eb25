// SPDX-License-Identifier: GPL-2.0-only
//! A mount as the lower layer of an overlayfs, as containers use it.
#![forbid(unsafe_code)]

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::process::ExitCode;

use anyhow::{ensure, Result};
use composefs_selftests::basic_tree::{self, content};
use composefs_selftests::compare::{expect_equal, Links};
use composefs_selftests::image::build;
use composefs_selftests::mount::Mount;
use composefs_selftests::overlay::Overlay;
use composefs_selftests::tap::{self, Case};
use composefs_selftests::tree::{self, Tree};
use composefs_selftests::{command, odd_tree, setup};
use rustix::fs::{mknodat, statx, AtFlags, FileType, Mode, StatxAttributes, StatxFlags, CWD};

struct Context {
    expected: Tree,
    // Dropped in this order: what is on top first.
    overlay: Mount,
    lower: Mount,
}

fn set_up() -> Result<Context> {
    setup::require_driver()?;
    setup::load_module()?;
    setup::modprobe("overlay")?;
    let work = setup::work_directory("overlay")?;
    let source = work.join("source");
    odd_tree::create(&source)?;
    basic_tree::create(&source.join("basic"))?;
    let expected = tree::read(&source)?;
    let image = build(&setup::mkcomposefs(), &source, &work, &[])?;
    let lower = image.request().at(&work.join("lower"))?;
    let overlay = Overlay::new(&work, "overlay", &[lower.root()], "")?.mount()?;
    Ok(Context {
        expected,
        overlay,
        lower,
    })
}

fn same(context: &mut Context) -> Result<()> {
    let mut seen = tree::read(context.overlay.root())?;
    // The root is that of the upper layer.
    if let (Some(seen), Some(expected)) = (seen.get_mut(&[][..]), context.expected.get(&[][..])) {
        seen.attributes = expected.attributes.clone();
    }
    expect_equal(&context.expected, &seen, Links::Ignore)
}

/// Nothing that the lower layer says of its files keeps them from being changed on top.
fn attributes(context: &mut Context) -> Result<()> {
    for name in ["external-4095", "inline-1", "directory"] {
        let path = context.overlay.join("basic").join(name);
        let stat = statx(CWD, &path, AtFlags::empty(), StatxFlags::BASIC_STATS)?;
        let is_immutable = stat.stx_attributes.contains(StatxAttributes::IMMUTABLE);
        ensure!(!is_immutable, "{name} is said to be immutable");
        // Writes back what it has read of other flags.
        command::run("chattr", ["+d", &path.to_string_lossy()])?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700))?;
    }
    Ok(())
}

fn mapped(context: &mut Context) -> Result<()> {
    basic_tree::expect_content(&context.overlay.join("basic"), "external-65537")
}

fn change(context: &mut Context) -> Result<()> {
    let basic = context.overlay.join("basic");
    for name in ["external-1m", "inline-64"] {
        let mut file = OpenOptions::new().append(true).open(basic.join(name))?;
        file.write_all(b" and more")?;
        drop(file);
        let expected = [content(name).as_slice(), b" and more"].concat();
        ensure!(fs::read(basic.join(name))? == expected, "{name} on top");
        let below = fs::read(context.lower.join("basic").join(name))?;
        ensure!(below == content(name), "{name} below");
    }
    Ok(())
}

fn remove_and_rename(context: &mut Context) -> Result<()> {
    let basic = context.overlay.join("basic");
    fs::remove_file(basic.join("external-4096"))?;
    fs::rename(basic.join("external-8192"), basic.join("renamed"))?;
    fs::remove_dir_all(context.overlay.join("directories"))?;
    fs::create_dir(context.overlay.join("directories"))?;
    let names = fs::read_dir(context.overlay.join("directories"))?.count();
    ensure!(names == 0, "{names} names in a directory made anew");
    ensure!(!basic.join("external-4096").exists(), "it is still there");
    ensure!(
        fs::read(basic.join("renamed"))? == content("external-8192"),
        "renamed"
    );
    let seen = tree::read(context.lower.root())?;
    expect_equal(&context.expected, &seen, Links::Ignore)
}

/// Whiteouts that were in the source of an image work in an overlay that has it as a layer.
fn whiteouts_in_the_image(context: &mut Context) -> Result<()> {
    let work = setup::work_directory("overlay-whiteouts")?;
    let source = work.join("source");
    setup::create_dir(&source.join("basic"))?;
    fs::write(source.join("basic/new"), vec![b'n'; 500])?;
    let whiteout = source.join("basic/external-1m");
    let mode = Mode::from_raw_mode(0);
    mknodat(CWD, whiteout, FileType::CharacterDevice, mode, 0)?;
    let image = build(&setup::mkcomposefs(), &source, &work, &[])?;
    let top = image.request().at(&work.join("top"))?;
    let layers = [top.root(), context.lower.root()];
    let merged = Overlay::new(&work, "overlay", &layers, "")?.mount()?;
    ensure!(
        fs::read(merged.join("basic/new"))?.len() == 500,
        "basic/new"
    );
    ensure!(
        !merged.join("basic/external-1m").exists(),
        "it is not hidden"
    );
    let below = fs::read(merged.join("basic/external-65537"))?;
    ensure!(below == content("external-65537"), "from below");
    let names: Vec<_> = fs::read_dir(merged.join("basic"))?
        .map(|item| item.map(|item| item.file_name()))
        .collect::<Result<_, _>>()?;
    ensure!(
        !names.iter().any(|name| name == "external-1m"),
        "it is listed"
    );
    Ok(())
}

const CASES: &[Case<Context>] = &[
    ("the overlay shows the tree", same),
    ("files can be mapped through it", mapped),
    ("attributes are no hindrance", attributes),
    ("files can be changed on top", change),
    ("removing and renaming on top", remove_and_rename),
    ("whiteouts of the source work", whiteouts_in_the_image),
];

fn main() -> ExitCode {
    tap::run(set_up, CASES)
}
