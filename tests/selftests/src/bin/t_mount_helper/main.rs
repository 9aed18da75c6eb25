// SPDX-License-Identifier: GPL-2.0-only
//! `mount.composefs`, by itself and under mount(8): by the driver, and by EROFS and overlayfs where
//! that is absent or not wanted.
#![forbid(unsafe_code)]

mod errors;
mod under_mount;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{ensure, Context as _, Result};
use composefs_selftests::command::{capture, expect_refusal, output, run};
use composefs_selftests::compare::{expect_equal, Links};
use composefs_selftests::image::{build, replace, Image};
use composefs_selftests::mount::Mount;
use composefs_selftests::mountinfo::mountinfo;
use composefs_selftests::signing::Pki;
use composefs_selftests::tap::{self, note, Case};
use composefs_selftests::tree::Tree;
use composefs_selftests::{basic_tree, odd_tree, setup};
use rustix::io::Errno;

const FILE: &str = "external-4097";

/// Ways to mount an image, by the helper's option: with the driver, and in a kernel without it, where
/// the second of them is taken anyway.
const WITH_DRIVER: [&str; 2] = ["kernel", "overlay"];
const WITHOUT_DRIVER: [&str; 2] = ["auto", "overlay"];

struct Context {
    work: PathBuf,
    image: Image,
    signature: PathBuf,
    ways: [&'static str; 2],
    without: Option<setup::WithoutModule>,
}

fn set_up() -> Result<Context> {
    setup::require_driver()?;
    setup::load_module()?;
    setup::load_incumbent()?;
    let work = setup::work_directory("mount-helper")?;
    let source = work.join("source");
    odd_tree::create(&source)?;
    basic_tree::create(&source.join("basic"))?;
    let image = build(&setup::mkcomposefs(), &source, &work, &[])?;
    let pki = Pki::of_signer(&work.join("pki"))?;
    let signature = pki.sign(&image.file, "signer", &[])?;
    setup::create_dir(&work.join("mount"))?;
    Ok(Context {
        work,
        image,
        signature,
        ways: WITH_DRIVER,
        without: None,
    })
}

impl Context {
    fn target(&self) -> PathBuf {
        self.work.join("mount")
    }

    /// Whatever follows has a kernel without the driver.
    fn remove_driver(&mut self) -> Result<()> {
        setup::WithoutModule::keep(&mut self.without)?;
        self.ways = WITHOUT_DRIVER;
        Ok(())
    }

    /// The type of what is mounted in such a way.
    fn kind(&self, way: &str) -> &'static str {
        match (self.ways, way) {
            (WITH_DRIVER, "auto" | "kernel") => "composefs",
            _ => "overlay",
        }
    }

    /// The helper with these options more than the store.
    fn helper(&self, image: &Path, options: &str) -> Command {
        let mut command = Command::new(setup::mount_helper());
        let options = format!("basedir={},{options}", self.image.store.display());
        command.args(["-o", &options]).arg(image).arg(self.target());
        command
    }

    fn mounted(&self, options: &str) -> Result<Mount> {
        output(&mut self.helper(&self.image.file, options)).context(options.to_owned())?;
        Ok(Mount::adopt(&self.target()))
    }

    /// It does not mount; what it says is one line with these words, and the status is 1.
    fn refuses(&self, image: &Path, options: &str, words: &[&str]) -> Result<()> {
        expect_refusal(&mut self.helper(image, options), words).context(options.to_owned())?;
        ensure!(!is_mounted(&self.target())?, "it is mounted");
        Ok(())
    }
}

fn is_mounted(target: &Path) -> Result<bool> {
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    let target = target.to_string_lossy();
    Ok(mounts
        .lines()
        .any(|line| line.split(' ').nth(4) == Some(&target)))
}

/// What is mounted, and what lies in /tmp.
fn traces() -> Result<(usize, usize)> {
    let mounts = fs::read_to_string("/proc/self/mountinfo")?.lines().count();
    Ok((mounts, fs::read_dir(std::env::temp_dir())?.count()))
}

fn content(mount: &Mount) -> Result<()> {
    basic_tree::expect_content(&mount.join("basic"), FILE)
}

/// Both ways show the same tree, and `/proc/mounts` says which it was.
fn both_ways(context: &mut Context) -> Result<()> {
    let before = traces()?;
    let digest = format!("digest={}", context.image.digest);
    let mut trees = Vec::new();
    for driver in context.ways {
        let mount = context.mounted(&format!("{digest},composefs.driver={driver}"))?;
        let (found, _, options) = mountinfo(mount.root())?;
        ensure!(found == context.kind(driver), "{driver}: {found}");
        ensure!(options.contains("verity=require"), "{driver}: {options}");
        content(&mount)?;
        trees.push(composefs_selftests::tree::read(mount.root())?);
        mount.unmount()?;
    }
    let [first, overlay]: &[Tree; 2] = trees.as_slice().try_into()?;
    expect_equal(overlay, first, Links::Ignore)?;

    let mount = context.mounted(&digest)?;
    ensure!(
        mountinfo(mount.root())?.0 == context.kind("auto"),
        "auto: not the driver, or that which is not there"
    );
    mount.unmount()?;
    let after = traces()?;
    ensure!(before == after, "left behind: {before:?} became {after:?}");
    Ok(())
}

/// No path is too long, either way.
fn long_paths(context: &mut Context) -> Result<()> {
    let deep = context.work.join("l".repeat(200)).join("p".repeat(200));
    fs::create_dir_all(&deep)?;
    let (image, store) = (deep.join("image"), deep.join("store"));
    fs::rename(&context.image.file, &image)?;
    fs::rename(&context.image.store, &store)?;
    let result = context.ways.into_iter().try_for_each(|driver| {
        let options = format!(
            "basedir={},verity,composefs.driver={driver}",
            store.display()
        );
        let mut helper = Command::new(setup::mount_helper());
        output(
            helper
                .args(["-o", &options])
                .arg(&image)
                .arg(context.target()),
        )?;
        content(&Mount::adopt(&context.target()))
    });
    fs::rename(&image, &context.image.file)?;
    fs::rename(&store, &context.image.store)?;
    result
}

/// What a wrong object gives: by default what it is, as with composefs 1.0, else an error.
fn levels(context: &mut Context) -> Result<()> {
    let object = context.image.object(&basic_tree::content(FILE));
    let good = fs::read(&object)?;
    let mut wrong = good.clone();
    wrong[0] ^= 1;
    replace(&object, &wrong)?;
    let run = || {
        for driver in context.ways {
            for (level, is_served) in [
                ("ro", true),
                ("noverity", true),
                ("verity=off", true),
                ("verity=on", false),
                ("verity", false),
                ("tryverity", false),
            ] {
                let mount = context.mounted(&format!("{level},composefs.driver={driver}"))?;
                let read = fs::read(mount.join("basic").join(FILE));
                ensure!(
                    read.as_ref().is_ok_and(|read| *read == wrong) == is_served,
                    "{driver}, {level}: {:?}",
                    read.map(|read| read.len())
                );
            }
        }
        Ok(())
    };
    let result = run();
    replace(&object, &good)?;
    composefs_selftests::image::enable_verity(&object)?;
    result
}

/// Where no object can prove anything, `tryverity` gives none, either way.
fn tried(context: &mut Context) -> Result<()> {
    let plain = PathBuf::from("/dev/shm/composefs-store");
    run(
        "cp",
        [
            "-r",
            &context.image.store.to_string_lossy(),
            &*plain.to_string_lossy(),
        ],
    )?;
    let refusal = |driver: &str| -> Result<Option<Errno>> {
        let options = format!(
            "basedir={},tryverity,composefs.driver={driver}",
            plain.display()
        );
        let mut helper = Command::new(setup::mount_helper());
        helper.args(["-o", &options]);
        helper.arg(&context.image.file).arg(context.target());
        let result = capture(&mut helper)?;
        if !result.status.success() {
            let line = String::from_utf8_lossy(&result.stderr).into_owned();
            ensure!(line.contains(setup::NO_VERITY), "{line}");
            return Ok(Some(Errno::OPNOTSUPP));
        }
        let mount = Mount::adopt(&context.target());
        let read = fs::read(mount.join("basic").join(FILE));
        Ok(read.err().and_then(|error| Errno::from_io_error(&error)))
    };
    for driver in context.ways {
        let expected = match driver {
            "overlay" => Errno::IO,
            _ => Errno::OPNOTSUPP,
        };
        let refusal = refusal(driver)?;
        ensure!(refusal == Some(expected), "{driver}: {refusal:?}");
    }
    fs::remove_dir_all(&plain)?;
    Ok(())
}

/// A layer that can be written to, either way.
fn upper(context: &mut Context) -> Result<()> {
    for driver in context.ways {
        let (dir, work) = (context.work.join("upper"), context.work.join("working"));
        setup::create_dir(&dir)?;
        setup::create_dir(&work)?;
        let options = format!(
            "verity,upperdir={},workdir={},composefs.driver={driver}",
            dir.display(),
            work.display()
        );
        let before = traces()?;
        let mount = context.mounted(&options)?;
        ensure!(
            mountinfo(mount.root())?.0 == "overlay",
            "{driver}: no overlay"
        );
        content(&mount)?;
        let file = mount.join("basic").join(FILE);
        fs::write(&file, "changed")?;
        fs::rename(mount.join("basic"), mount.join("renamed"))?;
        ensure!(
            fs::read(mount.join("renamed").join(FILE))? == b"changed",
            "{driver}"
        );
        mount.unmount()?;
        ensure!(traces()? == before, "{driver}: left behind");

        let mount = context.mounted(&options)?;
        ensure!(
            fs::read(mount.join("renamed").join(FILE))? == b"changed",
            "{driver}: another mount does not show what was written"
        );
        ensure!(!mount.join("basic").exists(), "{driver}: it has both names");
        drop(mount);
        let mount = context.mounted(&format!("{options},ro"))?;
        ensure!(
            fs::write(mount.join("new"), "").is_err(),
            "{driver}: ro can be written to"
        );
        drop(mount);
        fs::remove_dir_all(&dir)?;
        fs::remove_dir_all(&work)?;
    }
    Ok(())
}

fn signatures(context: &mut Context) -> Result<()> {
    let option = format!("signature={}", context.signature.display());
    let mount = context.mounted(&option)?;
    content(&mount)?;
    ensure!(
        mountinfo(mount.root())?.2.contains(&option),
        "it is not shown"
    );
    drop(mount);

    let other = context.work.join("other-signature");
    fs::write(&other, "none")?;
    let wrong = format!("signature={}", other.display());
    context.refuses(&context.image.file, &wrong, &["signature"])?;
    let overlay = format!("{option},composefs.driver=overlay");
    let words = ["signature= needs the composefs driver"];
    context.refuses(&context.image.file, &overlay, &words)
}

/// Owners are shown as a user namespace has them, either way.
fn mapped_owners(context: &mut Context) -> Result<()> {
    let mut holder = Command::new("unshare")
        .args([
            "--user",
            "--map-users=100000,0,1000",
            "--map-groups=100000,0,1000",
        ])
        .args(["sh", "-c", "echo ready; exec sleep 1000"])
        .stdout(Stdio::piped())
        .spawn()?;
    let result = (|| {
        let mut ready = [0; 6];
        let out = holder.stdout.as_mut().context("no output")?;
        std::io::Read::read_exact(out, &mut ready)?;
        for driver in context.ways {
            let options = format!(
                "idmap=/proc/{}/ns/user,composefs.driver={driver}",
                holder.id()
            );
            let mount = context.mounted(&options)?;
            let owner = fs::metadata(mount.join("basic"))?.uid();
            ensure!(owner == 100_000, "{driver}: owner {owner}");
            content(&mount)?;
        }
        Ok(())
    })();
    holder.kill()?;
    holder.wait()?;
    result
}

/// EROFS and overlayfs do not take over what they cannot do.
fn refused_without_driver(context: &mut Context) -> Result<()> {
    let image = &context.image.file;
    for (option, words) in [
        (
            "composefs.driver=kernel",
            "composefs.driver=kernel needs the composefs driver",
        ),
        (
            &*format!("signature={}", context.signature.display()),
            "signature= needs the composefs driver",
        ),
    ] {
        context.refuses(image, option, &[words])?;
    }
    Ok(())
}

/// A case, in a kernel without the driver.
macro_rules! without {
    ($case:path) => {
        |context: &mut Context| {
            context.remove_driver()?;
            $case(context)
        }
    };
}

const CASES: &[Case<Context>] = &[
    ("by the driver and by overlayfs", both_ways),
    ("paths of any length", long_paths),
    ("what objects must prove", levels),
    ("tryverity where there is no fs-verity", tried),
    ("upperdir and workdir", upper),
    ("signature= is for the driver", signatures),
    ("idmap", mapped_owners),
    ("errors of the image", errors::of_the_image),
    (
        "errors of the command line, beside composefs 1.0",
        errors::of_the_command_line,
    ),
    ("mount, umount and fstab", under_mount::fstab),
    ("mount -o remount", under_mount::remount),
    (
        "without the driver: auto and overlayfs",
        without!(both_ways),
    ),
    (
        "without the driver: paths of any length",
        without!(long_paths),
    ),
    (
        "without the driver: what objects must prove",
        without!(levels),
    ),
    ("without the driver: upperdir and workdir", without!(upper)),
    (
        "without the driver: what is refused",
        without!(refused_without_driver),
    ),
    ("without the driver: idmap", without!(mapped_owners)),
    (
        "without the driver: errors of the image",
        without!(errors::of_the_image),
    ),
    (
        "without the driver: errors of the command line, beside composefs 1.0",
        without!(errors::of_the_command_line),
    ),
    (
        "without the driver: mount, umount and fstab",
        without!(under_mount::fstab),
    ),
];

fn main() -> ExitCode {
    if std::env::var_os("TMPDIR").is_none() {
        note("temporary directories are in /tmp");
    }
    tap::run(set_up, CASES)
}
