// SPDX-License-Identifier: GPL-2.0-only
//! One image in every form that it comes in, from where it comes from: the same digest, by ours and
//! by composefs-rs, and in the mount what umoci unpacks. And repositories of either in the hands of
//! the other, with fs-verity.
//!
//! usage: `pulls [FILES BYTES]`: how many files the image has besides, and the size of the largest
//! file of another image
#![forbid(unsafe_code)]

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{bail, ensure, Context as _, Result};
use composefs_selftests::command::{output, run};
use composefs_selftests::compare::{expect_equal, Links};
use composefs_selftests::containers::{text, Containers};
use composefs_selftests::layers::{self, BELOW};
use composefs_selftests::mount::Mount;
use composefs_selftests::mountinfo::mountinfo;
use composefs_selftests::oci_image::{archive, OciImage, TAG};
use composefs_selftests::registry::{Demands, Registry};
use composefs_selftests::repository::Repository;
use composefs_selftests::setup;
use composefs_selftests::tap::{self, note, Case};
use composefs_selftests::tree::{self, Tree};

const PORT: u16 = 5000;
/// What is pulled if no numbers are given: soon done, emulated.
const FILES: usize = 100;
const BYTES: u64 = 40 << 20;

struct Context {
    // In this order they go.
    registry: Registry,
    containers: Containers,
    work: PathBuf,
    /// The image, in a directory.
    image: String,
    /// What umoci made of it.
    expected: Tree,
    /// Ours, with the image, and the digest there.
    ours: Repository,
    digest: String,
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
    let directory = work.join("registry");
    Ok(Context {
        digest: ours.pull(&containers, &image, "image")?,
        ours,
        registry: Registry::start(&containers, &directory, PORT, &Demands::default())?,
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

    fn expect_digest(&self, from: &str) -> Result<()> {
        self.expect(from, &self.digest)
    }

    /// It gives the digest that it should, in a repository that has nothing of it.
    fn expect(&self, from: &str, expected: &str) -> Result<()> {
        let path = self.work.join("empty");
        let repository = Repository::at(&path);
        let mut pull = repository.command(&["pull", "--tls-verify=false", from, "image"]);
        self.containers.give(&mut pull);
        output(&mut pull)?;
        let digest = repository.run(&["digest", "image"])?;
        ensure!(digest == expected, "{digest}, not {expected}");
        repository.run(&["fsck"])?;
        Ok(fs::remove_dir_all(path)?)
    }

    fn cfsctl(&self, repository: &Path, arguments: &[&str]) -> Result<String> {
        let mut command = Command::new(setup::cfsctl()?);
        self.containers.give(&mut command);
        output(command.arg("--repo").arg(repository).args(arguments))
    }

    /// The repository that composefs-rs made, with the image.
    fn theirs(&self) -> Result<Repository> {
        let path = self.work.join("theirs");
        if !path.exists() {
            self.cfsctl(&path, &["init", "--algorithm", "fsverity-sha256-12"])?;
            self.cfsctl(&path, &["oci", "pull", &self.image, "image"])?;
        }
        Ok(Repository::at(&path))
    }
}

fn mounted(context: &Context) -> Result<()> {
    context.expect_tree(&context.ours)?;
    context.ours.run(&["fsck", "--contents"]).map(drop)
}

fn gzip(context: &Context) -> Result<()> {
    let from = context.push("image:gzip", &[])?;
    let manifest = context.manifest(&from)?;
    ensure!(manifest.contains("tar+gzip"), "{manifest}");
    context.expect_digest(&from)
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
    context.expect_digest(&from)
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
    context.expect_digest(&from)
}

fn v2s2(context: &Context) -> Result<()> {
    let from = context.push("image:v2s2", &["--format=v2s2"])?;
    let manifest = context.manifest(&from)?;
    let kind = "application/vnd.docker.distribution.manifest.v2+json";
    ensure!(manifest.contains(kind), "{manifest}");
    context.expect_digest(&from)
}

fn oci_archive(context: &Context) -> Result<()> {
    let file = context.work.join("image.tar");
    let to = format!("oci-archive:{}:tag", text(&file)?);
    context
        .containers
        .skopeo(&["copy", "--quiet", &context.image, &to])?;
    context.expect_digest(&to)?;
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
    let theirs = context.theirs()?;
    let digest = context.cfsctl(theirs.path(), &["oci", "compute-id", "image"])?;
    ensure!(digest == context.digest, "{digest}, not {}", context.digest);
    Ok(())
}

/// What composefs-rs made, in our hands.
fn theirs(context: &Context) -> Result<()> {
    let theirs = context.theirs()?;
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
    context.cfsctl(theirs.path(), &["fsck"])?;
    context.cfsctl(theirs.path(), &["oci", "fsck"])?;
    context.expect_tree(&theirs)
}

/// What we made, in the hands of composefs-rs.
fn ours(context: &Context) -> Result<()> {
    let path = context.ours.path();
    context.cfsctl(path, &["fsck"])?;
    context.cfsctl(path, &["oci", "fsck"])?;
    context.cfsctl(path, &["oci", "pull", &context.image, "again"])?;
    context.cfsctl(path, &["gc"])?;
    context.ours.run(&["fsck", "--contents"])?;
    let target = context.work.join("mount");
    setup::create_dir(&target)?;
    context.cfsctl(path, &["oci", "mount", "image", text(&target)?])?;
    let mount = Mount::adopt(&target);
    // An overlay over EROFS.
    let (kind, ..) = mountinfo(mount.root())?;
    ensure!(kind == "overlay", "{kind}");
    expect_equal(&context.expected, &tree::read(mount.root())?, Links::Files)?;
    mount.unmount()?;
    context.cfsctl(path, &["oci", "untag", "again"])?;
    context.cfsctl(path, &["gc"])?;
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
    ("gzip, from a registry", |c| gzip(c)),
    ("zstd, from a registry", |c| zstd(c)),
    ("zstd:chunked, from a registry", |c| zstd_chunked(c)),
    ("a manifest of Docker's, from a registry", |c| v2s2(c)),
    ("an archive", |c| oci_archive(c)),
    ("podman's storage", |c| containers_storage(c)),
    ("composefs-rs computes the same digest", |c| composefs_rs(c)),
    ("a repository of composefs-rs in our hands", |c| theirs(c)),
    ("our repository in the hands of composefs-rs", |c| ours(c)),
    ("holes, and a large file", |c| large_files(c)),
];

fn main() -> ExitCode {
    tap::run(set_up, CASES)
}
