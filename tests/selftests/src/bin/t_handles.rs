// SPDX-License-Identifier: GPL-2.0-only
//! File handles and inode numbers: the same for as long as the image is.
#![forbid(unsafe_code)]

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{bail, ensure, Context as _, Result};
use composefs_selftests::compare::{expect_equal, Links};
use composefs_selftests::image::{build, Image};
use composefs_selftests::mount::Mount;
use composefs_selftests::nfs::Server;
use composefs_selftests::tap::{self, Case};
use composefs_selftests::{basic_tree, odd_tree, python, setup, tree};

struct Context {
    work: PathBuf,
    image: Image,
    other: Image,
    /// `None` while a case has it unmounted.
    mount: Option<Mount>,
}

impl Context {
    fn root(&self) -> PathBuf {
        self.work.join("mount")
    }

    fn remount(&mut self, image: &Image) -> Result<()> {
        if let Some(mount) = self.mount.take() {
            mount.unmount()?;
        }
        setup::drop_caches()?;
        self.mount = Some(image.request().at(&self.root())?);
        Ok(())
    }
}

fn set_up() -> Result<Context> {
    setup::require_driver()?;
    setup::load_module()?;
    let work = setup::work_directory("handles")?;
    let source = work.join("source");
    odd_tree::create(&source)?;
    let image = build(&setup::mkcomposefs(), &source, &work, &[])?;
    let other = basic_tree::build_image(&work.join("other"))?;
    let mount = Some(image.request().at(&work.join("mount"))?);
    let context = Context {
        work,
        image,
        other,
        mount,
    };
    let count = python::run(MAKE, &[context.root(), context.handles()])?;
    tap::note(format_args!("{count} handles"));
    Ok(context)
}

/// Handles in a file, one a line: type, bytes in hexadecimal, inode number, file type, path.
const MAKE: &str = include_str!("../../python/make_handles.py");

/// Opens each of the handles, with O_PATH and, for files and directories, for reading; prints how
/// many are stale.
const OPEN: &str = include_str!("../../python/open_handles.py");

impl Context {
    fn handles(&self) -> PathBuf {
        self.work.join("handles")
    }

    /// How many handles can be opened, and how many are stale.
    fn open(&self, handles: &Path, expected: &str) -> Result<(usize, usize)> {
        let arguments = [
            self.root().into(),
            handles.as_os_str().to_owned(),
            expected.into(),
        ];
        let printed = python::run(OPEN, &arguments)?;
        let mut numbers = printed.split(' ').map(str::parse);
        match (numbers.next(), numbers.next()) {
            (Some(Ok(opened)), Some(Ok(stale))) => Ok((opened, stale)),
            _ => bail!("printed {printed:?}"),
        }
    }

    fn all_open(&self) -> Result<()> {
        let (opened, stale) = self.open(&self.handles(), "same")?;
        ensure!(stale == 0, "{stale} stale handles");
        ensure!(opened > 1000, "only {opened} handles");
        Ok(())
    }
}

fn dropped_caches(context: &mut Context) -> Result<()> {
    setup::drop_caches()?;
    context.all_open()
}

fn remounted(context: &mut Context) -> Result<()> {
    let image = context.image.clone();
    context.remount(&image)?;
    context.all_open()
}

/// The same content, mounted again: the numbers and the handles do not change.
fn inode_numbers(context: &mut Context) -> Result<()> {
    let numbers = |root: &Path| -> Result<BTreeMap<PathBuf, u64>> {
        let mut found = BTreeMap::new();
        let mut paths = vec![root.to_owned()];
        while let Some(path) = paths.pop() {
            let metadata = fs::symlink_metadata(&path)?;
            if metadata.is_dir() {
                for item in fs::read_dir(&path)? {
                    paths.push(item?.path());
                }
            }
            found.insert(path.strip_prefix(root)?.to_owned(), metadata.ino());
        }
        Ok(found)
    };
    let before = numbers(&context.root())?;
    let different: HashSet<_> = before.values().collect();
    // mkcomposefs makes a file of its own of every name.
    ensure!(different.len() == before.len(), "numbers are used twice");
    setup::drop_caches()?;
    ensure!(numbers(&context.root())? == before, "after dropping caches");
    let image = context.image.clone();
    context.remount(&image)?;
    ensure!(numbers(&context.root())? == before, "after a new mount");
    // Twice at once, by other names.
    let copy = context.work.join("copy");
    fs::copy(&image.file, &copy)?;
    let second =
        composefs_selftests::mount::Request::new(&copy).at(&context.work.join("second"))?;
    ensure!(numbers(second.root())? == before, "of a copy of the image");
    Ok(())
}

/// Handles of another image, and made-up ones: ESTALE, or some file of the image, but no fault.
fn strangers(context: &mut Context) -> Result<()> {
    let (image, other) = (context.image.clone(), context.other.clone());
    context.remount(&other)?;
    let (opened, stale) = context.open(&context.handles(), "any")?;
    tap::note(format_args!(
        "of another image: {opened} opened, {stale} stale"
    ));
    ensure!(stale > opened, "handles of another image are opened");
    context.remount(&image)?;
    let mut random = composefs_fuzz::random::Random::new(9);
    let mut lines = Vec::new();
    for kind in [0x81, 0x82, 1, 2, 0, 0xfe, 77] {
        for length in [4, 8, 12, 16, 20, 24, 28, 64] {
            for _ in 0..8 {
                let mut bytes = random.bytes(length);
                // Half of them with small numbers, in the place of the low half.
                if random.below(2) == 0 {
                    bytes.fill(0);
                    if let Some(low) = bytes.get_mut(4..6) {
                        low.copy_from_slice(&random.bytes(2));
                    }
                }
                let hex = composefs_selftests::verity::hex(&bytes);
                lines.push(format!("{kind} {hex} 0 0 2f"));
            }
        }
    }
    let invented = context.work.join("invented");
    fs::write(&invented, lines.join("\n"))?;
    let (opened, stale) = context.open(&invented, "any")?;
    tap::note(format_args!("invented: {opened} opened, {stale} stale"));
    ensure!(stale > opened, "invented handles are opened");
    context.all_open()?;

    // Good ones, but for their generation, or of a type that others use.
    let good = fs::read_to_string(context.handles())?;
    let lines = good.lines().flat_map(|line| {
        let (kind, rest) = line.split_once(' ').unwrap_or_default();
        let number = rest.get(..16).unwrap_or_default();
        let behind = rest.get(24..).unwrap_or_default();
        [
            format!("{kind} {number}01000000{behind}\n"),
            format!("1 {rest}\n"),
        ]
    });
    fs::write(&invented, lines.collect::<String>())?;
    let (opened, _) = context.open(&invented, "any")?;
    ensure!(opened == 0, "{opened} are opened that are none of ours");
    Ok(())
}

/// An NFS server in the guest exports the mount to itself.
fn nfs(context: &mut Context) -> Result<()> {
    let server = Server::start(&context.root(), "ro")?;
    let mount = server.mount(&context.work.join("nfs"), "ro,soft")?;
    let mut expected = tree::read(&context.root())?;
    let mut seen = tree::read(mount.root())?;
    for tree in [&mut expected, &mut seen] {
        for entry in tree.values_mut() {
            // NFS has user xattrs only, and no ACLs by this protocol.
            entry.xattrs.clear();
        }
    }
    mount.unmount()?;
    expect_equal(&expected, &seen, Links::Files)
}

/// Nothing of the above keeps the mount busy.
fn unmounted(context: &mut Context) -> Result<()> {
    let mount = context.mount.take().context("not mounted")?;
    mount.unmount()
}

const CASES: &[Case<Context>] = &[
    ("every file has a handle that opens it", |c| c.all_open()),
    ("handles outlive dropped caches", dropped_caches),
    ("handles outlive the mount", remounted),
    ("inode numbers belong to the image", inode_numbers),
    ("handles that are not of this image", strangers),
    ("nfsd exports it", nfs),
    ("it can be unmounted after all that", unmounted),
];

fn main() -> ExitCode {
    tap::run(set_up, CASES)
}
