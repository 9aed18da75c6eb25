// SPDX-License-Identifier: GPL-2.0-only
//! `composefs-setup-root`, as an initramfs calls it: which image it takes, what it makes of that,
//! and what it refuses. Whole boots are tested by `scripts/test-boot`.
#![forbid(unsafe_code)]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{ensure, Result};
use composefs_selftests::command::{expect_refusal, output, run};
use composefs_selftests::image::{build, build_composefs_rs, enable_verity, Image};
use composefs_selftests::mountinfo::mountinfo;
use composefs_selftests::setup;
use composefs_selftests::signing::{Pki, QUICK};
use composefs_selftests::tap::{self, Case};
use composefs_selftests::verity::Algorithm;

/// What the image has in /etc, and what is written there.
const CONTENT: &str = "from the image";
const CHANGED: &str = "changed";

struct Context {
    work: PathBuf,
    image: Image,
    pki: Pki,
    /// What the root is of: with the driver, composefs.
    kind: &'static str,
    without: Option<setup::WithoutModule>,
}

fn set_up() -> Result<Context> {
    setup::require_driver()?;
    setup::load_module()?;
    setup::load_incumbent()?;
    let work = setup::work_directory("setup-root")?;
    let pki = Pki::of_signer(&work.join("pki"))?;
    pki.certificate("stranger", QUICK, "")?;
    fs::create_dir_all(work.join("target"))?;
    let context = Context {
        image: make_disk(&work)?,
        work,
        pki,
        kind: "composefs",
        without: None,
    };
    context.name_own()?;
    Ok(context)
}

/// A disk with an image; what an earlier test has left there is removed.
fn make_disk(work: &Path) -> Result<Image> {
    let source = work.join("source");
    for name in ["etc", "var", "sysroot", "usr"] {
        fs::create_dir_all(source.join(name))?;
    }
    fs::write(source.join("etc/file"), CONTENT)?;
    fs::write(source.join("usr/large"), CONTENT.repeat(1000))?;
    let image = build(&setup::mkcomposefs(), &source, work, &[])?;

    let disk = work.join("disk");
    for old in [&disk, &work.join("rs")] {
        if old.exists() {
            fs::remove_dir_all(old)?;
        }
    }
    fs::create_dir_all(disk.join("composefs/images"))?;
    fs::rename(&image.store, disk.join("composefs/objects"))?;
    fs::rename(&image.file, disk.join("composefs/image"))?;
    Ok(Image {
        file: disk.join("composefs/image"),
        store: disk.join("composefs/objects"),
        digest: image.digest,
    })
}

impl Context {
    /// Whatever follows has a kernel without the driver.
    fn remove_driver(&mut self) -> Result<()> {
        setup::WithoutModule::keep(&mut self.without)?;
        if self.kind != "overlay" {
            self.kind = "overlay";
            self.image = make_disk(&self.work)?;
            self.name_own()?;
        }
        Ok(())
    }

    /// The image has its name and its state.
    fn name_own(&self) -> Result<()> {
        self.name_it(&self.image.digest, "../image")?;
        self.state(&self.image.digest)
    }

    fn disk(&self) -> PathBuf {
        self.work.join("disk")
    }

    fn target(&self) -> PathBuf {
        self.work.join("target")
    }

    /// Another name for an image.
    fn name_it(&self, name: &str, target: &str) -> Result<()> {
        Ok(symlink(
            target,
            self.disk().join("composefs/images").join(name),
        )?)
    }

    fn state(&self, name: &str) -> Result<()> {
        let state = self.disk().join("state/deploy").join(name);
        fs::create_dir_all(state.join("etc"))?;
        Ok(fs::create_dir_all(state.join("var"))?)
    }

    fn command(&self, line: &str) -> Command {
        self.command_on(&self.disk(), line)
    }

    fn command_on(&self, disk: &Path, line: &str) -> Command {
        let mut command = Command::new(setup::payload().join("bin/composefs-setup-root"));
        command.arg("--cmdline").arg(line);
        command.arg("--sysroot").arg(disk);
        command.arg("--target").arg(self.target());
        command
    }

    fn booted(&self, line: &str) -> Result<Root> {
        Root::of(&mut self.command(line), &self.target())
    }

    /// Nothing is mounted; what it says is one line with these words, and the status is 1.
    fn refuses(&self, line: &str, words: &[&str]) -> Result<()> {
        self.refuses_command(&mut self.command(line), words)
    }

    fn refuses_command(&self, command: &mut Command, words: &[&str]) -> Result<()> {
        let before = fs::read_to_string("/proc/self/mountinfo")?;
        expect_refusal(command, words)?;
        ensure!(before == fs::read_to_string("/proc/self/mountinfo")?);
        Ok(())
    }
}

/// A root with all that is mounted in it.
struct Root(PathBuf);

impl Root {
    fn of(command: &mut Command, target: &Path) -> Result<Self> {
        output(command)?;
        Ok(Self(target.to_owned()))
    }

    fn unmount(self) -> Result<()> {
        run("umount", [Path::new("-R"), &self.0]).map(drop)
    }

    fn join(&self, path: &str) -> PathBuf {
        self.0.join(path)
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-Rl").arg(&self.0).output();
    }
}

/// The root cannot be written to; what is written to /etc and /var is there the next time.
fn layout(context: &mut Context) -> Result<()> {
    let line = format!("quiet composefs={} rw", context.image.digest);
    let root = context.booted(&line)?;
    let (found, _, options) = mountinfo(&root.0)?;
    ensure!(found == context.kind, "{found}");
    // What overlayfs does not show.
    let is_shown = found == "overlay" || options.contains(&*context.image.digest);
    ensure!(is_shown, "{options}");
    let store = format!("={}", context.image.store.display());
    ensure!(options.contains(&store), "{options}");
    ensure!(options.contains("verity=require"), "{options}");
    ensure!(fs::write(root.join("usr/new"), CHANGED).is_err(), "written");
    ensure!(fs::read_to_string(root.join("etc/file"))? == CONTENT);
    ensure!(root.join("sysroot/composefs/image").exists());
    fs::write(root.join("etc/file"), CHANGED)?;
    fs::write(root.join("var/file"), CHANGED)?;
    root.unmount()?;

    let root = context.booted(&line)?;
    for name in ["etc/file", "var/file"] {
        ensure!(fs::read_to_string(root.join(name))? == CHANGED, "{name}");
    }
    root.unmount()?;
    let state = context
        .disk()
        .join("state/deploy")
        .join(&context.image.digest);
    ensure!(fs::read_to_string(state.join("etc/upper/file"))? == CHANGED);
    ensure!(fs::read_to_string(state.join("var/file"))? == CHANGED);
    Ok(())
}

/// In an initramfs the root takes the place of the disk; under systemd all mounts are shared there.
fn in_place(context: &mut Context) -> Result<()> {
    run("mount", ["--make-rshared", "/"])?;
    let result = in_place_of_disk(context);
    run("mount", ["--make-rprivate", "/"])?;
    result
}

fn in_place_of_disk(context: &Context) -> Result<()> {
    let place = context.work.join("place");
    setup::create_dir(&place)?;
    run("mount", [Path::new("--bind"), &context.disk(), &place])?;
    let root = Root(place.clone());
    let mut command = Command::new(setup::payload().join("bin/composefs-setup-root"));
    let line = format!("composefs.digest=v1-sha256-12:{}", context.image.digest);
    output(command.args(["--cmdline", &line, "--sysroot"]).arg(&place))?;
    ensure!(mountinfo(&place)?.0 == context.kind);
    ensure!(place.join("sysroot/composefs/image").exists());
    fs::write(place.join("etc/new"), CHANGED)?;
    let line = fs::read_to_string("/proc/self/mountinfo")?;
    let place = place.to_string_lossy().into_owned();
    let mounts = line
        .lines()
        .filter(|line| line.split(' ').nth(4) == Some(&place));
    ensure!(mounts.count() == 1, "the disk is still mounted below it");
    root.unmount()
}

/// The first that is there, by each way to say it.
fn first_of_several(context: &mut Context) -> Result<()> {
    let (digest, other) = (&context.image.digest, "0".repeat(64));
    for line in [
        format!("composefs={other} composefs={digest}"),
        format!("composefs.digest=v1-sha256-12:{other} composefs.digest=v1-sha256-12:{digest}"),
        format!("composefs.digest=v2-sha512-12:{other}{other} composefs={digest}"),
    ] {
        context.booted(&line)?.unmount()?;
    }
    Ok(())
}

/// With `?` it may be another image than it is called.
fn insecure(context: &mut Context) -> Result<()> {
    let other = "1".repeat(64);
    context.name_it(&other, "../image")?;
    context.state(&other)?;
    let line = format!("composefs={other}");
    context.refuses(&line, &["wrong digest", &context.image.digest, &other])?;
    for line in [
        format!("composefs=?{other}"),
        format!("composefs.digest=?v1-sha256-12:{other}"),
    ] {
        let root = context.booted(&line)?;
        let options = mountinfo(&root.0)?.2;
        ensure!(!options.contains("verity=require"), "{options}");
        root.unmount()?;
    }
    Ok(())
}

/// What an image that nobody has changed looks like to it, one line each.
fn refusals(context: &mut Context) -> Result<()> {
    let (digest, other) = (&context.image.digest, "2".repeat(64));
    context.refuses(
        "quiet",
        &["the kernel command line has no composefs=, nor composefs.digest="],
    )?;
    context.refuses(
        &format!("composefs={other}"),
        &["no such image on the disk", &other],
    )?;
    context.refuses(
        "composefs=12",
        &["composefs=12", "wrong number of hex digits"],
    )?;
    // A name that leads out of the disk leads nowhere.
    context.name_it(&other, "/../../../../../../etc/hostname")?;
    context.refuses(&format!("composefs={other}"), &["no such image"])?;

    // Content that is not what it was sealed with.
    let tampered = context.disk().join("composefs/tampered");
    let mut bytes = fs::read(&context.image.file)?;
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(&tampered, bytes)?;
    let third = "3".repeat(64);
    context.name_it(&third, "../tampered")?;
    let line = format!("composefs={third}");
    context.refuses(&line, &["no fs-verity", &third])?;
    let found = enable_verity(&tampered)?;
    context.refuses(&line, &["wrong digest", &found, &third])?;

    let mut command = context.command(&format!("composefs={digest}"));
    let config = context.work.join("bad.toml");
    fs::write(&config, "[etc]\nmount = \"somewhere\"\n")?;
    context.refuses_command(
        command.arg("--config").arg(&config),
        &["bad.toml", "somewhere"],
    )?;
    // What an image without its state would start with.
    let state = context.disk().join("state/deploy").join(digest);
    fs::rename(&state, context.work.join("state"))?;
    let result = context.refuses(&format!("composefs={digest}"), &["/etc", "no state"]);
    fs::rename(context.work.join("state"), &state)?;
    result?;
    let mut command = context.command_on(&context.work, &format!("composefs={digest}"));
    context.refuses_command(&mut command, &["no composefs repository"])
}

/// A signature is enough, or comes on top of a digest.
fn signed(context: &mut Context) -> Result<()> {
    let disk = context.disk();
    let sign = |by: &str, to: &str| -> Result<()> {
        let signature = context.pki.sign(&context.image.file, by, &[])?;
        Ok(fs::rename(signature, disk.join("composefs").join(to))?)
    };
    sign("signer", "image.sig")?;
    sign("stranger", "image.other")?;
    context.state("image")?;
    let digest = &context.image.digest;
    for line in [
        "composefs.signature=/composefs/image.sig".into(),
        format!("composefs={digest} composefs.signature=composefs/image.sig"),
        format!("composefs=?{digest} composefs.signature=/composefs/image.sig"),
    ] {
        let root = context.booted(&line)?;
        let options = mountinfo(&root.0)?.2;
        ensure!(options.contains("verity=require"), "{line}: {options}");
        root.unmount()?;
    }
    for (line, words) in [
        ("composefs.signature=/composefs/image.other", "image"),
        ("composefs.signature=/composefs/nothing.sig", "nothing"),
        ("composefs.signature=/composefs/image", "no suffix"),
    ] {
        context.refuses(line, &[words])?;
    }
    Ok(())
}

/// What the configuration says of what can be written to.
fn configured(context: &mut Context) -> Result<()> {
    let config = context.work.join("config.toml");
    let line = format!("composefs={}", context.image.digest);
    let booted = |text: &str| -> Result<Root> {
        fs::write(&config, text)?;
        let mut command = context.command(&line);
        Root::of(command.arg("--config").arg(&config), &context.target())
    };
    let root = booted("[root]\ntransient = true\n[etc]\nmount = \"none\"\n")?;
    fs::write(root.join("usr/new"), CHANGED)?;
    fs::write(root.join("etc/file"), CHANGED)?;
    root.unmount()?;
    let root = booted("[etc]\nmount = \"none\"\n[var]\nmount = \"none\"\n")?;
    ensure!(!root.join("usr/new").exists(), "kept");
    ensure!(fs::read_to_string(root.join("etc/file"))? == CONTENT);
    ensure!(fs::write(root.join("etc/file"), CHANGED).is_err());
    ensure!(fs::write(root.join("var/file"), CHANGED).is_err());
    root.unmount()?;
    let root = booted("[etc]\ntransient = true\n[var]\nmount = \"overlay\"\n")?;
    fs::write(root.join("etc/transient"), CHANGED)?;
    fs::write(root.join("var/overlay"), CHANGED)?;
    root.unmount()?;
    let state = context
        .disk()
        .join("state/deploy")
        .join(&context.image.digest);
    ensure!(state.join("var/upper/overlay").exists());
    ensure!(!state.join("etc/upper/transient").exists());
    Ok(())
}

/// A repository that composefs-rs made.
fn of_composefs_rs(context: &mut Context) -> Result<()> {
    let disk = context.work.join("rs");
    let source = context.work.join("source");
    let image = build_composefs_rs(Algorithm::Sha512, "2", &source, &disk)?;
    fs::rename(disk.join("repository"), disk.join("composefs"))?;
    let state = disk.join("state/deploy").join(&image.digest);
    fs::create_dir_all(state.join("etc"))?;
    fs::create_dir_all(state.join("var"))?;
    let line = format!("composefs={}", image.digest);
    let mut command = context.command_on(&disk, &line);
    let root = Root::of(&mut command, &context.target())?;
    ensure!(mountinfo(&root.0)?.0 == context.kind);
    ensure!(fs::read_to_string(root.join("etc/file"))? == CONTENT);
    ensure!(fs::read(root.join("usr/large"))?.len() == CONTENT.len() * 1000);
    root.unmount()
}

/// Without the driver, nobody checks a signature.
fn signature_without_driver(context: &mut Context) -> Result<()> {
    fs::write(context.disk().join("composefs/image.sig"), "unread")?;
    context.refuses(
        "composefs.signature=/composefs/image.sig",
        &["signature= needs the composefs driver"],
    )
}

/// A case, in a kernel without the driver: by EROFS and overlayfs.
macro_rules! without {
    ($case:path) => {
        |context: &mut Context| {
            context.remove_driver()?;
            $case(context)
        }
    };
}

const CASES: &[Case<Context>] = &[
    ("root, /etc and /var", layout),
    ("in the place of the disk", in_place),
    ("the first image that is there", first_of_several),
    ("insecure", insecure),
    ("refusals", refusals),
    ("by a signature", signed),
    ("what can be written to", configured),
    ("a repository of composefs-rs", of_composefs_rs),
    ("without the driver: root, /etc and /var", without!(layout)),
    (
        "without the driver: in the place of the disk",
        without!(in_place),
    ),
    (
        "without the driver: the first image that is there",
        without!(first_of_several),
    ),
    ("without the driver: insecure", without!(insecure)),
    ("without the driver: refusals", without!(refusals)),
    (
        "without the driver: by a signature",
        without!(signature_without_driver),
    ),
    (
        "without the driver: what can be written to",
        without!(configured),
    ),
    (
        "without the driver: a repository of composefs-rs",
        without!(of_composefs_rs),
    ),
];

fn main() -> ExitCode {
    tap::run(set_up, CASES)
}
