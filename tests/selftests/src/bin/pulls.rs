// SPDX-License-Identifier: GPL-2.0-only
//! What is mounted of an image that was pulled is what umoci unpacks of it; and repositories of ours
//! and of composefs-rs in the hands of the other, with fs-verity.
//!
//! usage: `pulls [FILES BYTES]`: how many files the image has besides, and the size of the largest
//! file of another image
#![forbid(unsafe_code)]

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{bail, ensure, Context as _, Result};
use composefs_selftests::command::run;
use composefs_selftests::compare::{expect_equal, Links};
use composefs_selftests::containers::{text, Containers};
use composefs_selftests::layers;
use composefs_selftests::mount::Mount;
use composefs_selftests::mountinfo::mountinfo;
use composefs_selftests::oci_image::{archive, OciImage};
use composefs_selftests::repository::Repository;
use composefs_selftests::setup;
use composefs_selftests::tap::{self, note, Case};
use composefs_selftests::tree::{self, Tree};

/// What is pulled if no numbers are given: soon done, emulated.
const FILES: usize = 100;
const BYTES: u64 = 40 << 20;

struct Context {
    containers: Containers,
    work: PathBuf,
    /// The image, in a directory.
    image: String,
    /// What umoci made of it.
    expected: Tree,
    /// Ours, with the image.
    ours: Repository,
    /// The size of the large file.
    bytes: u64,
}

fn set_up() -> Result<Context> {
    setup::require_driver()?;
    setup::load_module()?;
    setup::load_incumbent()?;
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (files, bytes) = match &arguments[..] {
        [] => (FILES, BYTES),
        [files, bytes] => (files.parse()?, bytes.parse()?),
        _ => bail!("usage: pulls [FILES BYTES]"),
    };
    let work = setup::work_directory("pull")?;
    let containers = Containers::set_up(&work)?;
    let image = OciImage::new(&containers, &work.join("image"))?;
    layers::add(&image, &work, files)?;
    let unpacked = work.join("unpacked");
    image.unpack(&unpacked)?;
    let expected = layers::expected(&unpacked)?;
    fs::remove_dir_all(unpacked)?;
    note(format_args!("{} entries", expected.len()));
    let image = image.reference()?;
    let ours = Repository::at(&work.join("ours"));
    ours.pull(&containers, &image, "image")?;
    Ok(Context {
        ours,
        containers,
        work,
        image,
        expected,
        bytes,
    })
}

impl Context {
    /// What is mounted of an image is what umoci made of it, with every link.
    fn expect_tree(&self, repository: &Repository) -> Result<()> {
        let digest = repository.run(&["digest", "image"])?;
        let mount = repository.mount("image", &self.work.join("mount"), &[])?;
        let (kind, _, options) = mountinfo(mount.root())?;
        ensure!(
            kind == "composefs" && options.contains(&format!("digest=sha256:{digest}")),
            "{kind}: {options}"
        );
        expect_equal(&self.expected, &tree::read(mount.root())?, Links::Files)?;
        mount.unmount()
    }
}

fn mounted(context: &Context) -> Result<()> {
    context.expect_tree(&context.ours)?;
    context.ours.run(&["fsck", "--contents"]).map(drop)
}

/// What composefs-rs made, in our hands.
fn theirs(context: &Context) -> Result<()> {
    let path = context.work.join("theirs");
    let cfsctl = |arguments: &[&str]| context.containers.cfsctl(&path, arguments);
    cfsctl(&["init", "--algorithm", "fsverity-sha256-12"])?;
    cfsctl(&["oci", "pull", &context.image, "image"])?;
    let theirs = Repository::at(&path);
    theirs.run(&["fsck", "--contents"])?;
    context.expect_tree(&theirs)?;
    // Nothing is missing, and of what is there nothing is written again.
    let objects = theirs.path().join("objects");
    let before = tree::read(&objects)?.len();
    theirs.pull(&context.containers, &context.image, "again")?;
    let after = tree::read(&objects)?.len();
    // Only streams that lead to the image; its layers and files are known.
    ensure!(after <= before + 2 * 3, "{before} objects, then {after}");
    theirs.run(&["gc"])?;
    theirs.run(&["untag", "again"])?;
    theirs.run(&["gc"])?;
    cfsctl(&["fsck"])?;
    cfsctl(&["oci", "fsck"])?;
    context.expect_tree(&theirs)
}

/// What we made, in the hands of composefs-rs.
fn ours(context: &Context) -> Result<()> {
    let path = context.ours.path();
    let cfsctl = |arguments: &[&str]| context.containers.cfsctl(path, arguments);
    cfsctl(&["fsck"])?;
    cfsctl(&["oci", "fsck"])?;
    cfsctl(&["oci", "pull", &context.image, "again"])?;
    cfsctl(&["gc"])?;
    context.ours.run(&["fsck", "--contents"])?;
    let target = context.work.join("mount");
    setup::create_dir(&target)?;
    cfsctl(&["oci", "mount", "image", text(&target)?])?;
    let mount = Mount::adopt(&target);
    // An overlay over EROFS.
    let (kind, ..) = mountinfo(mount.root())?;
    ensure!(kind == "overlay", "{kind}");
    expect_equal(&context.expected, &tree::read(mount.root())?, Links::Files)?;
    mount.unmount()?;
    cfsctl(&["oci", "untag", "again"])?;
    cfsctl(&["gc"])?;
    context.expect_tree(&context.ours)
}

/// A large file, and holes, as archives of either kind have them. umoci knows only one of them.
fn large_files(context: &Context) -> Result<()> {
    let image = OciImage::new(&context.containers, &context.work.join("large"))?;
    let source = context.work.join("source");
    for format in ["pax", "gnu"] {
        let layer = context.work.join("layer");
        setup::create_dir(&layer.join("usr"))?;
        let sparse = File::create(layer.join(format!("usr/sparse-{format}")))?;
        for island in 0..30 {
            sparse.write_all_at(format.as_bytes(), island * 1_000_000 + 77)?;
        }
        sparse.set_len(40_000_000)?;
        if format == "pax" {
            let large = File::create(layer.join("usr/large"))?;
            large.write_all_at(b"at the begin", 0)?;
            large.write_all_at(b"at the end", context.bytes - 10)?;
        }
        let file = context.work.join("layer.tar");
        archive(&layer, &file, &["--sparse", &format!("--format={format}")])?;
        image.add(&file)?;
        run("cp", [Path::new("-aT"), &layer, &source])?;
        fs::remove_dir_all(&layer)?;
    }
    // Times of that kind of archive have no fractions.
    let mut expected = tree::read(&source)?;
    for path in [&b"usr"[..], b"usr/sparse-gnu"] {
        let entry = expected.get_mut(path).context("it is not in the source")?;
        entry.attributes.mtime.1 = 0;
    }
    // The root's attributes are those of /usr.
    expected.remove(&b""[..]);
    let size = expected
        .get(&b"usr/large"[..])
        .map(|file| file.attributes.size);
    ensure!(size == Some(context.bytes), "{size:?}");
    let repository = Repository::at(&context.work.join("empty"));
    repository.pull(&context.containers, &image.reference()?, "image")?;
    let mount = repository.mount("image", &context.work.join("mount"), &[])?;
    let mut actual = tree::read(mount.root())?;
    actual.remove(&b""[..]);
    expect_equal(&expected, &actual, Links::Files)?;
    mount.unmount()?;
    Ok(fs::remove_dir_all(repository.path())?)
}

const CASES: &[Case<Context>] = &[
    ("what is mounted is what umoci unpacks", |c| mounted(c)),
    ("a repository of composefs-rs in our hands", |c| theirs(c)),
    ("our repository in the hands of composefs-rs", |c| ours(c)),
    ("holes, and a large file", |c| large_files(c)),
];

fn main() -> ExitCode {
    tap::run(set_up, CASES)
}
