// SPDX-License-Identifier: GPL-2.0-only
//! `composefs`, from an OCI image to a mount: what is in it, what protects it, and what `gc` leaves
//! alone because it is mounted.
#![forbid(unsafe_code)]

use std::fs;
use std::io::Read;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::{ensure, Context as _, Result};
use composefs_selftests::command::{expect_refusal, output, run};
use composefs_selftests::compare::{expect_equal, Links};
use composefs_selftests::image::replace;
use composefs_selftests::mount::Mount;
use composefs_selftests::mountinfo::mountinfo;
use composefs_selftests::one_layer::{self, By};
use composefs_selftests::repository::Repository;
use composefs_selftests::setup;
use composefs_selftests::tap::{self, Case};
use composefs_selftests::tree;

const CONTENT: &str = "from the image";

struct Context {
    work: PathBuf,
    repository: Repository,
    /// What the image was made of.
    source: PathBuf,
}

fn set_up() -> Result<Context> {
    setup::require_driver()?;
    setup::load_module()?;
    setup::load_incumbent()?;
    let work = setup::work_directory("repository")?;
    let source = work.join("source");
    for name in ["usr/bin", "usr/lib", "etc"] {
        fs::create_dir_all(source.join(name))?;
    }
    fs::write(source.join("usr/large"), CONTENT.repeat(1000))?;
    fs::write(source.join("etc/small"), CONTENT)?;
    fs::copy("/usr/bin/true", source.join("usr/bin/true"))?;
    fs::hard_link(source.join("usr/large"), source.join("usr/lib/again"))?;
    std::os::unix::fs::symlink("large", source.join("usr/link"))?;
    let context = Context {
        repository: Repository::at(&work.join("store")),
        work,
        source,
    };
    one_layer::make(&context.work.join("image"), &context.source, By::Gzip)?;
    fs::create_dir(context.target())?;
    context.run(&["pull", &context.image(), "image"])?;
    Ok(context)
}

impl Context {
    fn target(&self) -> PathBuf {
        self.work.join("target")
    }

    fn image(&self) -> String {
        format!("oci:{}", self.work.join("image").display())
    }

    fn command(&self, arguments: &[&str]) -> Command {
        self.repository.command(arguments)
    }

    fn run(&self, arguments: &[&str]) -> Result<String> {
        self.repository.run(arguments)
    }

    fn mount(&self, more: &[&str]) -> Result<Mount> {
        self.repository.mount("image", &self.target(), more)
    }

    /// Mounts the image in another place.
    fn mount_at(&self, name: &str) -> Result<Mount> {
        self.repository.mount("image", &self.work.join(name), &[])
    }
}

/// What is mounted is what the image was made of, by the driver, with the digest given.
fn mounted(context: &Context, version: u32) -> Result<()> {
    let mount = context.mount(&[])?;
    let (kind, _, options) = mountinfo(mount.root())?;
    let digest = context.run(&["digest", "image"])?;
    ensure!(
        kind == "composefs" && options.contains(&format!("digest=sha256:{}", digest.trim())),
        "{kind}: {options}"
    );
    let mut expected = tree::read(&context.source)?;
    if version == 2 {
        let entries = expected.values_mut();
        entries.for_each(|entry| entry.attributes.mtime.1 = 0);
    }
    let mut actual = tree::read(mount.root())?;
    // The root's attributes are those of /usr.
    actual.remove(&Vec::new());
    expected.remove(&Vec::new());
    expect_equal(&expected, &actual, Links::Files)?;
    run(mount.join("usr/bin/true"), [""; 0])?;
    let target = context.target();
    context.run(&["umount", target.to_str().context("path")?])?;
    mount.forget();
    ensure!(mountinfo(&target).is_err(), "it is still mounted");
    Ok(())
}

/// The same of a repository whose images are of version 2, which knows no nanoseconds.
fn mounted_in_version_2(context: &Context) -> Result<()> {
    let context = Context {
        repository: Repository::at(&context.work.join("store-2")),
        work: context.work.clone(),
        source: context.source.clone(),
    };
    context.run(&["init", "--erofs-version", "2"])?;
    context.run(&["pull", &context.image(), "image"])?;
    mounted(&context, 2)?;
    let karg = context.run(&["karg", "image"])?;
    let digest = context.run(&["digest", "image"])?;
    ensure!(karg == format!("composefs={digest}"), "{karg}");
    context.run(&["fsck", "--contents"]).map(drop)
}

fn writable(context: &Context) -> Result<()> {
    let layer = context.work.join("layer");
    let mount = context.mount(&["--writable", layer.to_str().context("path")?])?;
    fs::write(mount.join("etc/small"), "changed")?;
    mount.unmount()?;
    ensure!(fs::read_to_string(layer.join("upper/etc/small"))? == "changed");
    Ok(())
}

/// All of it goes but what is mounted, in whatever namespace.
fn gc_leaves_what_is_mounted(context: &Context) -> Result<()> {
    let mount = context.mount(&[])?;
    context.run(&["tag", "image", "kept"])?;
    context.run(&["rm", "image"])?;
    context.run(&["gc"])?;
    ensure!(fs::read_to_string(mount.join("usr/large"))? == CONTENT.repeat(1000));
    // It is not kept by what is open: nothing is in a cache any more.
    setup::drop_caches()?;
    run(mount.join("usr/bin/true"), [""; 0])?;
    context.run(&["fsck", "--contents"])?;
    mount.unmount()?;
    context.run(&["gc"])?;
    let left = context.run(&["fsck"])?;
    ensure!(left.starts_with("0 objects, 0 streams, 0 images"), "{left}");
    context.run(&["pull", &context.image(), "image"])?;
    Ok(())
}

/// An overlay does not say which image it is of, so nothing is collected.
fn gc_waits_for_overlays(context: &Context) -> Result<()> {
    let digest = context.run(&["digest", "image"])?;
    let image = context.repository.path().join("images").join(digest.trim());
    let mut command = Command::new(setup::mount_helper());
    let options = format!(
        "composefs.driver=overlay,basedir={}",
        context.repository.path().join("objects").display()
    );
    output(
        command
            .arg("-o")
            .arg(options)
            .args([&image, &context.target()]),
    )?;
    let mount = Mount::adopt(&context.target());
    expect_refusal(&mut context.command(&["gc"]), &["mounted", "by overlayfs"])?;
    mount.unmount()?;
    context.run(&["gc"]).map(drop)
}

/// Objects have fs-verity. One that has not is found, and gets it; one that is another, or is gone,
/// is fetched again. Who has it open notices nothing.
fn damage_is_repaired(context: &Context) -> Result<()> {
    let listed = context.run(&["ls", "image"])?;
    let large = listed
        .lines()
        .find_map(|line| line.strip_prefix("/usr/large\t@ "));
    let object = context
        .repository
        .path()
        .join("objects")
        .join(large.context("object")?);
    let good = fs::read(&object)?;
    let mount = context.mount(&[])?;
    let mut open = fs::File::open(mount.join("usr/large"))?;
    let is_damaged = || -> Result<()> {
        let one = ["1 fault was found"];
        expect_refusal(&mut context.command(&["fsck", "--contents"]), &one)?;
        let other = context.mount_at("other")?;
        let read = fs::read(other.join("usr/large"));
        ensure!(read.is_err(), "it can be read");
        other.unmount()
    };
    let repair = || context.run(&["fsck", "--repair", "--contents"]);

    // The content is right, so nothing is fetched.
    let (image, aside) = (context.work.join("image"), context.work.join("aside"));
    fs::rename(&image, &aside)?;
    replace(&object, &good)?;
    context.run(&["fsck"])?;
    is_damaged()?;
    let said = repair()?;
    ensure!(
        said.contains("is not protected by fs-verity: repaired"),
        "{said}"
    );
    context.run(&["fsck", "--contents"])?;

    replace(&object, b"another")?;
    is_damaged()?;
    let one = ["1 fault is left"];
    expect_refusal(
        &mut context.command(&["fsck", "--repair", "--contents"]),
        &one,
    )?;
    fs::rename(&aside, &image)?;
    repair()?;
    context.run(&["fsck", "--contents"])?;
    fs::remove_file(&object)?;
    expect_refusal(&mut context.command(&["fsck"]), &["fault"])?;
    repair()?;
    context.run(&["fsck", "--contents"])?;

    let mut content = String::new();
    open.read_to_string(&mut content)?;
    ensure!(content == CONTENT.repeat(1000), "what is open has changed");
    drop(open);
    mount.unmount()?;
    setup::drop_caches()?;
    let mount = context.mount(&[])?;
    ensure!(fs::read_to_string(mount.join("usr/large"))? == content);
    mount.unmount()
}

const CASES: &[Case<Context>] = &[
    ("an image is mounted with its digest", |context| {
        mounted(context, 1)
    }),
    ("so is one of format version 2", |context| {
        mounted_in_version_2(context)
    }),
    ("a layer on top can be written to", |context| {
        writable(context)
    }),
    ("gc leaves what is mounted", |context| {
        gc_leaves_what_is_mounted(context)
    }),
    ("gc waits for overlays", |context| {
        gc_waits_for_overlays(context)
    }),
    ("damage is found, and repaired", |context| {
        damage_is_repaired(context)
    }),
];

fn main() -> ExitCode {
    tap::run(set_up, CASES)
}
