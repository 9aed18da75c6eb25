// SPDX-License-Identifier: GPL-2.0-only
//! Mounts by `libcomposefs.so.1`, as programs make them that are linked to the library of composefs
//! 1.0: with the driver, without it, and with that library.
#![forbid(unsafe_code)]

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{ensure, Context as _, Result};
use composefs_selftests::basic_tree;
use composefs_selftests::command::run;
use composefs_selftests::image::{enable_verity, replace, Image};
use composefs_selftests::mount::Mount;
use composefs_selftests::mountinfo::mountinfo;
use composefs_selftests::python;
use composefs_selftests::setup;
use composefs_selftests::tap::{self, Case};

const MOUNT: &str = include_str!("../../python/lcfs_mount.py");
const FILE: &str = "external-4097";

/// Flags of `lcfs-mount.h`.
const REQUIRE_VERITY: u32 = 1 << 0;
const READONLY: u32 = 1 << 1;
const IDMAP: u32 = 1 << 3;
const TRY_VERITY: u32 = 1 << 4;

/// Debian's library.
fn theirs() -> PathBuf {
    Path::new("/")
        .join(setup::LIBRARIES)
        .join("libcomposefs.so.1")
}

struct Context {
    work: PathBuf,
    image: Image,
}

fn set_up() -> Result<Context> {
    setup::require_driver()?;
    setup::load_module()?;
    setup::load_incumbent()?;
    let work = setup::work_directory("c-library")?;
    let image = basic_tree::build_image(&work)?;
    setup::create_dir(&work.join("mount"))?;
    Ok(Context { work, image })
}

impl Context {
    /// What comes of a mount of `image` by `library` with these options, JSON without braces.
    fn result(&self, library: &Path, image: &Path, options: &str) -> Result<String> {
        let store = self.image.store.display();
        let comma = if options.is_empty() { "" } else { "," };
        let options = format!("{{\"objdirs\": [\"{store}\"]{comma}{options}}}");
        let target = self.work.join("mount");
        let arguments = [library, image, &target, Path::new(&options)];
        python::run(MOUNT, &arguments)
    }

    fn mounted(&self, library: &Path, options: &str) -> Result<Mount> {
        let result = self.result(library, &self.image.file, options)?;
        ensure!(result == "mounted", "{options}: {result}");
        Ok(Mount::adopt(&self.work.join("mount")))
    }

    fn digest(&self) -> String {
        format!("\"digest\": \"{}\"", self.image.digest)
    }
}

fn ours() -> PathBuf {
    setup::payload().join("lib/libcomposefs.so.1")
}

/// The options hold, by whichever file system.
fn options(context: &Context, library: &Path, file_system: &str) -> Result<()> {
    for more in ["", "\"by_fd\": true"] {
        let mount = context.mounted(library, more)?;
        let (kind, _, _) = mountinfo(mount.root())?;
        ensure!(kind == file_system, "{kind}");
        basic_tree::expect_content(mount.root(), FILE)?;
    }
    let mount = context.mounted(library, &context.digest())?;
    basic_tree::expect_content(mount.root(), FILE)?;
    drop(mount);
    let mount = context.mounted(library, &format!("\"flags\": {READONLY}"))?;
    ensure!(mount.is_read_only()?, "it can be written to");
    drop(mount);

    let (upper, working) = (context.work.join("upper"), context.work.join("working"));
    setup::create_dir(&upper)?;
    setup::create_dir(&working)?;
    let layer = format!(
        "\"upperdir\": \"{}\", \"workdir\": \"{}\"",
        upper.display(),
        working.display()
    );
    let mount = context.mounted(library, &layer)?;
    fs::write(mount.join(FILE), "changed")?;
    ensure!(
        fs::read(upper.join(FILE))? == b"changed",
        "not in the upper layer"
    );
    drop(mount);
    fs::remove_dir_all(&upper)?;
    fs::remove_dir_all(&working)?;
    Ok(())
}

/// What a wrong object gives at each level.
fn levels(context: &Context, library: &Path) -> Result<()> {
    let object = context.image.object(&basic_tree::content(FILE));
    let good = fs::read(&object)?;
    let mut wrong = good.clone();
    wrong[0] ^= 1;
    replace(&object, &wrong)?;
    let result = [
        ("\"flags\": 0".into(), true),
        (format!("\"flags\": {REQUIRE_VERITY}"), false),
        (format!("\"flags\": {TRY_VERITY}"), false),
        (context.digest(), true),
        (
            format!("{}, \"flags\": {REQUIRE_VERITY}", context.digest()),
            false,
        ),
    ]
    .iter()
    .try_for_each(|(options, is_served)| {
        let mount = context.mounted(library, options)?;
        let read = fs::read(mount.join(FILE));
        ensure!(
            read.is_ok_and(|read| read == wrong) == *is_served,
            "{options}"
        );
        Ok(())
    });
    replace(&object, &good)?;
    enable_verity(&object)?;
    result
}

fn owners(context: &Context, library: &Path) -> Result<()> {
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
        let idmap = format!(
            "\"flags\": {IDMAP}, \"idmap\": \"/proc/{}/ns/user\"",
            holder.id()
        );
        let mount = context.mounted(library, &idmap)?;
        let owner = fs::metadata(mount.join(FILE))?.uid();
        ensure!(owner == 100_000, "owner {owner}");
        Ok(())
    })();
    holder.kill()?;
    holder.wait()?;
    result
}

/// What is refused, and with which error.
fn errors(context: &Context, library: &Path) -> Result<()> {
    let plain = context.work.join("plain");
    fs::copy(&context.image.file, &plain)?;
    let text = context.work.join("text");
    fs::write(&text, "no image ".repeat(1000))?;
    let zero = format!("\"digest\": \"{}\"", "0".repeat(64));
    let image = &context.image.file;
    for (image, options, error) in [
        (image, zero.as_str(), "EILSEQ"),
        (&plain, &context.digest(), "ENOTTY"),
        (&text, "", "EINVAL"),
        (&context.work.join("missing"), "", "ENOENT"),
        (image, "\"flags\": 32", "EINVAL"),
        (image, "\"digest\": \"xyz\"", "EINVAL"),
        (image, "\"upperdir\": \"/\"", "EINVAL"),
    ] {
        let result = context.result(library, image, options)?;
        ensure!(
            result == error,
            "{}: {options}: {result}, expected {error}",
            image.display()
        );
    }
    Ok(())
}

fn all(context: &Context, library: &Path, file_system: &str) -> Result<()> {
    options(context, library, file_system).context("options")?;
    levels(context, library).context("levels")?;
    owners(context, library).context("owners")?;
    errors(context, library).context("errors")
}

fn by_driver(context: &mut Context) -> Result<()> {
    all(context, &ours(), "composefs")
}

/// So what is expected is what programs know.
fn by_their_library(context: &mut Context) -> Result<()> {
    setup::require_filled_pages(&context.image.file)?;
    all(context, &theirs(), "overlay")
}

fn without_driver(context: &mut Context) -> Result<()> {
    setup::require_module()?;
    run("rmmod", ["composefs"])?;
    let result = all(context, &ours(), "overlay").and_then(|()| {
        let place = context.work.join("place");
        setup::create_dir(&place)?;
        let option = format!("\"image_mountdir\": \"{}\"", place.display());
        let mount = context.mounted(&ours(), &option)?;
        let (_, _, options) = mountinfo(mount.root())?;
        let place = format!("lowerdir+={}", place.display());
        ensure!(options.contains(&place), "{options}");
        Ok(())
    });
    setup::load_module()?;
    result
}

const CASES: &[Case<Context>] = &[
    ("by the driver", by_driver),
    ("by the library of composefs 1.0", by_their_library),
    ("without the driver", without_driver),
];

fn main() -> ExitCode {
    tap::run(set_up, CASES)
}
