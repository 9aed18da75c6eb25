// SPDX-License-Identifier: GPL-2.0-only
//! Images that other tools made, mounted by the driver; and ours, read by other tools.
#![forbid(unsafe_code)]

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{ensure, Context as _, Result};
use composefs_selftests::command::run;
use composefs_selftests::compare::{expect_equal, Links};
use composefs_selftests::image::{build, build_composefs_rs, enable_verity, Image};
use composefs_selftests::mount::{Mount, Request};
use composefs_selftests::tap::{self, Case};
use composefs_selftests::tree::{self, Tree};
use composefs_selftests::verity::Algorithm;
use composefs_selftests::{basic_tree, odd_tree, setup};
use rustix::fs::{
    lgetxattr, lgetxattr_query, lsetxattr, mkdirat, mknodat, open, openat, FileType, Mode, OFlags,
    XattrFlags, CWD,
};
use rustix::io::Errno;

struct Context {
    work: PathBuf,
    source: PathBuf,
    expected: Tree,
}

fn set_up() -> Result<Context> {
    setup::load_module()?;
    let work = setup::work_directory("interop")?;
    let source = work.join("source");
    odd_tree::create(&source)?;
    // composefs-rs writes longer ones across blocks in its format V2, which EROFS takes for damage.
    for length in [4063, 4064, 4094, 4095] {
        fs::remove_file(source.join(format!("symlinks/length-{length}")))?;
    }
    basic_tree::create(&source.join("basic"))?;
    let expected = tree::read(&source)?;
    Ok(Context {
        work,
        source,
        expected,
    })
}

impl Context {
    /// The image, mounted by the driver, must be as expected; and be what the incumbent shows.
    fn check(&self, name: &str, image: &Image, expected: &Tree, links: Links) -> Result<()> {
        let request = image.request().set("verity", "require");
        let ours = request.at(&self.work.join(format!("{name}-mount")))?;
        setup::drop_caches()?;
        let ours = tree::read(ours.root())?;
        expect_equal(expected, &ours, links)?;

        let target = self.work.join(format!("{name}-incumbent"));
        let incumbent = Mount::incumbent(&request, &target)?;
        expect_equal(&tree::read(incumbent.root())?, &ours, Links::Ignore)
    }

    fn check_c(&self, name: &str, options: &[&str]) -> Result<()> {
        let tool = Path::new(setup::C_MKCOMPOSEFS);
        let image = build(tool, &self.source, &self.work.join(name), options)?;
        // It makes a file of its own of every hard link.
        self.check(name, &image, &self.expected, Links::Ignore)
    }

    fn check_composefs_rs(&self, algorithm: Algorithm, version: &str) -> Result<()> {
        let name = format!("rs-{}-{version}", algorithm.name());
        let directory = self.work.join(&name);
        let image = build_composefs_rs(algorithm, version, &self.source, &directory)?;
        let mut expected = self.expected.clone();
        if version == "2" {
            // It keeps whole seconds.
            for entry in expected.values_mut() {
                entry.attributes.mtime.1 = 0;
            }
        }
        self.check(&name, &image, &expected, Links::Files)
    }
}

fn c_v0(context: &mut Context) -> Result<()> {
    context.check_c("c-v0", &["--max-version=0"])
}

fn c_v1(context: &mut Context) -> Result<()> {
    context.check_c("c-v1", &["--min-version=1"])
}

fn rs_v1_sha256(context: &mut Context) -> Result<()> {
    context.check_composefs_rs(Algorithm::Sha256, "1")
}

fn rs_v1_sha512(context: &mut Context) -> Result<()> {
    context.check_composefs_rs(Algorithm::Sha512, "1")
}

fn rs_v2_sha256(context: &mut Context) -> Result<()> {
    context.check_composefs_rs(Algorithm::Sha256, "2")
}

fn rs_v2_sha512(context: &mut Context) -> Result<()> {
    context.check_composefs_rs(Algorithm::Sha512, "2")
}

/// Whiteouts, opaque directories and overlay xattrs in the source: what there is to see of them is
/// what overlayfs shows, so that a composefs can be a lower layer.
fn escapes(context: &mut Context) -> Result<()> {
    let source = context.work.join("escapes-source");
    setup::create_dir(&source.join("opaque"))?;
    let mode = Mode::from_raw_mode(0o600);
    for name in ["whiteout", "opaque/whiteout"] {
        mknodat(CWD, source.join(name), FileType::CharacterDevice, mode, 0)?;
    }
    fs::write(source.join("file"), vec![1; 200])?;
    let set = |name: &str, key: &str, value: &[u8]| {
        lsetxattr(source.join(name), key, value, XattrFlags::empty())
    };
    set("opaque", "trusted.overlay.opaque", b"y")?;
    set("file", "trusted.overlay.origin", b"somewhere")?;
    set("file", "trusted.overlay.overlay.nested", b"deep")?;
    set("file", "user.overlay.opaque", b"y")?;
    set("file", "trusted.overlayed", b"not of overlayfs")?;

    for (name, tool) in [
        ("ours", setup::mkcomposefs()),
        ("c", setup::C_MKCOMPOSEFS.into()),
    ] {
        let directory = context.work.join(format!("escapes-{name}"));
        let image = build(&tool, &source, &directory, &[])?;
        let ours = image.request().at(&directory.join("mount"))?;
        let ours = tree::read(ours.root())?;
        ensure!(ours.len() == 5, "{:?}", ours.keys());
        let incumbent = Mount::incumbent(&image.request(), &directory.join("incumbent"))?;
        expect_equal(&tree::read(incumbent.root())?, &ours, Links::Ignore)?;
    }
    Ok(())
}

/// The longest values that the format can hold, more than mkcomposefs accepts: inline, shared by two
/// files, and several on one file.
fn longest_values(context: &mut Context) -> Result<()> {
    let directory = context.work.join("longest-values");
    setup::create_dir(&directory)?;
    let value = |letter: &str, length: usize| letter.repeat(length);
    let dump = format!(
        "/ 0 40755 2 0 0 0 0.0 - - - user.of-root={}\n\
         /inline 0 100644 1 0 0 0 0.0 - - - trusted.a={} user.a={} security.a=short\n\
         /shared-1 0 100644 1 0 0 0 0.0 - - - user.shared={1} user.b=b\n\
         /shared-2 1 100644 1 0 0 0 0.0 - x - user.shared={1} user.b=c\n\
         /symlink 1 120777 1 0 0 0 0.0 x - - trusted.a={1}\n",
        value("r", 65_534),
        value("a", 65_535),
        value("b", 65_535),
    );
    fs::write(directory.join("dump"), &dump)?;
    // It behaves as the tool that it is called as.
    let tool = directory.join("mkcomposefs");
    symlink(setup::cfsctl()?, &tool)?;
    let file = directory.join("image");
    run(
        &tool,
        [Path::new("--from-file"), &directory.join("dump"), &file],
    )?;
    let image = Image {
        digest: enable_verity(&file)?,
        file,
        store: context.work.join("source"),
    };
    let ours = image.request().at(&directory.join("mount"))?;
    let tree = tree::read(ours.root())?;
    for (path, name, length) in [
        ("", "user.of-root", 65_534),
        ("inline", "trusted.a", 65_535),
        ("inline", "user.a", 65_535),
        ("shared-1", "user.shared", 65_535),
        ("shared-2", "user.shared", 65_535),
        ("symlink", "trusted.a", 65_535),
    ] {
        let path = ours.join(path);
        ensure!(lgetxattr_query(&path, name)? == length, "{name}: size");
        let mut buffer = vec![0; length];
        ensure!(lgetxattr(&path, name, &mut buffer[..]) == Ok(length));
        ensure!(buffer.iter().all(|byte| *byte == buffer[0]), "{name}");
        let short = lgetxattr(&path, name, &mut buffer[..length - 1]);
        ensure!(short == Err(Errno::RANGE), "{name}: {short:?}");
    }
    let incumbent = Mount::incumbent(&image.request(), &directory.join("incumbent"))?;
    expect_equal(&tree::read(incumbent.root())?, &tree, Links::Ignore)
}

/// The largest files and the longest object paths that mkcomposefs accepts are opened, by the driver
/// and by the incumbent.
fn limits(context: &mut Context) -> Result<()> {
    const CONTENT: &[u8] = b"far below";
    const SIZES: [u64; 2] = [(1 << 53) - 1, 1 << 53];

    let directory = context.work.join("limits");
    let store = directory.join("store");
    setup::create_dir(&store)?;
    // 4094 bytes: a path of the kernel has 4095, and this one gets a slash in front.
    let (directories, object) = (["d"; 63].map(|name| name.repeat(63)), "o".repeat(62));
    let path = [directories.join("/"), object.clone()].join("/");
    ensure!(path.len() == 4094);
    let mut inner = open(&store, OFlags::DIRECTORY, Mode::empty())?;
    for name in &directories {
        mkdirat(&inner, name, Mode::RWXU)?;
        inner = openat(&inner, name, OFlags::DIRECTORY, Mode::empty())?;
    }
    let create = OFlags::CREATE | OFlags::WRONLY;
    let object = openat(&inner, object, create, Mode::RUSR)?;
    File::from(object).write_all(CONTENT)?;

    let (dump, file) = (directory.join("dump"), directory.join("image"));
    let lines = [
        "/ 0 40755 2 0 0 0 0.0 - - -".to_owned(),
        format!("/path {} 100644 1 0 0 0 0.0 {path} - -", CONTENT.len()),
        // Objects that are not there: nothing but their size is asked for.
        format!("/size-0 {} 100644 1 0 0 0 0.0 gone - -", SIZES[0]),
        format!("/size-1 {} 100644 1 0 0 0 0.0 gone - -\n", SIZES[1]),
    ];
    fs::write(&dump, lines.join("\n"))?;
    run(
        setup::mkcomposefs(),
        [Path::new("--from-file"), &dump, &file],
    )?;
    let request = Request::new(&file).basedir(&store);
    let ours = request.at(&directory.join("mount"))?;
    let incumbent = Mount::incumbent(&request, &directory.join("incumbent"))?;
    for mount in [&ours, &incumbent] {
        let context = |name: &str| mount.join(name).display().to_string();
        let read = fs::read(mount.join("path")).with_context(|| context("path"))?;
        ensure!(read == CONTENT, "{}: {read:?}", context("path"));
        for (name, size) in ["size-0", "size-1"].into_iter().zip(SIZES) {
            let file = fs::metadata(mount.join(name)).with_context(|| context(name))?;
            ensure!(file.len() == size, "{}: {}", context(name), file.len());
        }
    }
    Ok(())
}

/// Names of one file in the source are names of one file in the mount.
fn hard_links(context: &mut Context) -> Result<()> {
    let directory = context.work.join("hard-links");
    let tool = setup::mkcomposefs();
    let image = build(&tool, &context.source, &directory, &["--hardlinks"])?;
    context.check("hard-links", &image, &context.expected, Links::Files)
}

fn ours_read_by_others(context: &mut Context) -> Result<()> {
    let directory = context.work.join("ours");
    let image = build(&setup::mkcomposefs(), &context.source, &directory, &[])?;
    let file = image.file.to_string_lossy();
    let listing = run(setup::C_COMPOSEFS_INFO, ["ls", &file])?;
    ensure!(listing.contains("/size-65\t@ "), "composefs-info ls");
    let missing = [
        "missing-objects",
        "--basedir",
        &image.store.to_string_lossy(),
        &file,
    ];
    let missing = run(setup::C_COMPOSEFS_INFO, missing)?;
    ensure!(missing.is_empty(), "missing objects:\n{missing}");
    run("fsck.erofs", [&*file])?;
    Ok(())
}

const CASES: &[Case<Context>] = &[
    ("an image of the C tool, format V0", c_v0),
    ("an image of the C tool, format V1", c_v1),
    ("an image of composefs-rs, format V1, SHA-256", rs_v1_sha256),
    ("an image of composefs-rs, format V1, SHA-512", rs_v1_sha512),
    ("an image of composefs-rs, format V2, SHA-256", rs_v2_sha256),
    ("an image of composefs-rs, format V2, SHA-512", rs_v2_sha512),
    ("whiteouts and overlay xattrs show as in overlayfs", escapes),
    ("xattr values of 65535 bytes", longest_values),
    ("the largest files and the longest object paths", limits),
    ("hard links of a source tree are kept", hard_links),
    (
        "our image satisfies composefs-info and fsck.erofs",
        ours_read_by_others,
    ),
];

fn main() -> ExitCode {
    tap::run(set_up, CASES)
}
