// SPDX-License-Identifier: GPL-2.0-only
//! One image in every form that it comes in, from where it comes from: the same digest, by ours and
//! by composefs-rs. Nothing is mounted, so that this runs on any kernel.
//!
//! usage: `forms [FILES BYTES]`: how many files the image has besides, and the size of the largest
#![forbid(unsafe_code)]

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{bail, ensure, Result};
use composefs_selftests::command::output;
use composefs_selftests::containers::{text, Containers};
use composefs_selftests::layers::{self, BELOW};
use composefs_selftests::oci_image::{archive, OciImage, PAX, TAG};
use composefs_selftests::registry::{Demands, Registry};
use composefs_selftests::repository::Repository;
use composefs_selftests::setup;
use composefs_selftests::tap::{self, Case};

const PORT: u16 = 5000;
/// What the image has if no numbers are given: soon done, emulated.
const FILES: usize = 100;
const BYTES: usize = 40 << 20;

struct Context {
    // In this order they go.
    registry: Registry,
    containers: Containers,
    work: PathBuf,
    /// The image, in a directory.
    image: String,
    /// What it is, pulled from there.
    digest: String,
}

fn set_up() -> Result<Context> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (files, bytes) = match &arguments[..] {
        [] => (FILES, BYTES),
        [files, bytes] => (files.parse()?, bytes.parse()?),
        _ => bail!("usage: forms [FILES BYTES]"),
    };
    let work = setup::work_directory("forms")?;
    let containers = Containers::set_up(&work)?;
    let image = OciImage::new(&containers, &work.join("image"))?;
    layers::add(&image, &work, files)?;
    add_large(&image, &work, bytes)?;
    let image = image.reference()?;
    let directory = work.join("registry");
    let mut context = Context {
        registry: Registry::start(&containers, &directory, PORT, &Demands::default())?,
        containers,
        work,
        image,
        digest: String::new(),
    };
    context.digest = context.pull(&context.image)?;
    Ok(context)
}

/// A layer with one file, of which no two blocks are the same.
fn add_large(image: &OciImage, work: &Path, bytes: usize) -> Result<()> {
    let tree = work.join("layer");
    setup::create_dir(&tree.join("usr"))?;
    let mut large = BufWriter::new(File::create(tree.join("usr/large"))?);
    let mut block = [0; 4096];
    for number in 0..bytes / block.len() {
        for (word, place) in block.chunks_mut(64).enumerate() {
            let number = (number * 64 + word) as u64;
            place[..8].copy_from_slice(&number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes());
        }
        large.write_all(&block)?;
    }
    large.flush()?;
    let file = work.join("layer.tar");
    archive(&tree, &file, PAX)?;
    image.add(&file)?;
    Ok(fs::remove_dir_all(tree)?)
}

impl Context {
    /// Puts the image in the registry, as skopeo is told to.
    fn push(&self, name: &str, how: &[&str]) -> Result<String> {
        let to = self.registry.image(name);
        let fixed = ["copy", "--quiet", "--dest-tls-verify=false"];
        self.containers
            .skopeo(&[&fixed, how, &[&self.image, &to]].concat())?;
        Ok(to)
    }

    /// The manifest, as it is there.
    fn manifest(&self, from: &str) -> Result<String> {
        self.containers
            .skopeo(&["inspect", "--raw", "--tls-verify=false", from])
    }

    /// The digest that an image has in a repository that had nothing of it, and is whole then.
    fn pull(&self, from: &str) -> Result<String> {
        let path = self.work.join("empty");
        let repository = Repository::at(&path);
        let mut pull = repository.command(&["pull", "--tls-verify=false", from, "image"]);
        self.containers.give(&mut pull);
        output(&mut pull)?;
        let digest = repository.run(&["digest", "image"])?;
        repository.run(&["fsck"])?;
        fs::remove_dir_all(path)?;
        Ok(digest)
    }

    fn expect(&self, from: &str, expected: &str) -> Result<()> {
        let digest = self.pull(from)?;
        ensure!(digest == expected, "{digest}, not {expected}");
        Ok(())
    }
}

fn gzip(context: &Context) -> Result<()> {
    let from = context.push("image:gzip", &[])?;
    let manifest = context.manifest(&from)?;
    ensure!(manifest.contains("tar+gzip"), "{manifest}");
    context.expect(&from, &context.digest)
}

fn zstd(context: &Context) -> Result<()> {
    let how = [
        "--dest-compress-format=zstd",
        "--dest-force-compress-format",
    ];
    let from = context.push("image:zstd", &how)?;
    let manifest = context.manifest(&from)?;
    let is_zstd = manifest.contains("tar+zstd") && !manifest.contains("gzip");
    ensure!(is_zstd && !manifest.contains("chunked"), "{manifest}");
    context.expect(&from, &context.digest)
}

fn zstd_chunked(context: &Context) -> Result<()> {
    let how = [
        "--dest-compress-format=zstd:chunked",
        "--dest-force-compress-format",
    ];
    let from = context.push("chunked:tag", &how)?;
    let manifest = context.manifest(&from)?;
    ensure!(
        manifest.contains("zstd-chunked.manifest-checksum"),
        "{manifest}"
    );
    context.expect(&from, &context.digest)
}

fn v2s2(context: &Context) -> Result<()> {
    let from = context.push("image:v2s2", &["--format=v2s2"])?;
    let manifest = context.manifest(&from)?;
    let kind = "application/vnd.docker.distribution.manifest.v2+json";
    ensure!(manifest.contains(kind), "{manifest}");
    context.expect(&from, &context.digest)
}

fn oci_archive(context: &Context) -> Result<()> {
    let file = context.work.join("image.tar");
    let to = format!("oci-archive:{}:tag", text(&file)?);
    context
        .containers
        .skopeo(&["copy", "--quiet", &context.image, &to])?;
    context.expect(&to, &context.digest)?;
    Ok(fs::remove_file(file)?)
}

/// Its drivers unpack layers in ways of their own. What links to a file of a layer below, only the
/// one that has every layer whole can unpack.
fn containers_storage(context: &Context) -> Result<()> {
    let below = context
        .image
        .replace(&format!(":{TAG}"), &format!(":{BELOW}"));
    let reference = Repository::at(&context.work.join("below"));
    let digest = reference.pull(&context.containers, &below, "image")?;
    for (driver, from, digest) in [
        ("overlay", &below, &digest),
        ("vfs", &context.image, &context.digest),
    ] {
        let store = context.work.join(format!("storage-{driver}"));
        let state = context.work.join(format!("state-{driver}"));
        let at = format!("[{driver}@{}+{}]", text(&store)?, text(&state)?);
        let name = format!("containers-storage:{at}localhost/image:tag");
        context
            .containers
            .skopeo(&["copy", "--quiet", from, &name])?;
        context.expect(&name, digest)?;
    }
    Ok(())
}

fn composefs_rs(context: &Context) -> Result<()> {
    let path = context.work.join("theirs");
    let cfsctl = |arguments: &[&str]| context.containers.cfsctl(&path, arguments);
    cfsctl(&["init", "--insecure", "--algorithm", "fsverity-sha256-12"])?;
    cfsctl(&["oci", "pull", &context.image, "image"])?;
    let digest = cfsctl(&["oci", "compute-id", "image"])?;
    ensure!(digest == context.digest, "{digest}, not {}", context.digest);
    Ok(())
}

const CASES: &[Case<Context>] = &[
    ("gzip, from a registry", |c| gzip(c)),
    ("zstd, from a registry", |c| zstd(c)),
    ("zstd:chunked, from a registry", |c| zstd_chunked(c)),
    ("a manifest of Docker's, from a registry", |c| v2s2(c)),
    ("an archive", |c| oci_archive(c)),
    ("podman's storage", |c| containers_storage(c)),
    ("composefs-rs computes the same digest", |c| composefs_rs(c)),
];

fn main() -> ExitCode {
    tap::run(set_up, CASES)
}
