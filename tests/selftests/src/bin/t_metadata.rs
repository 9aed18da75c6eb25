// SPDX-License-Identifier: GPL-2.0-only
//! A tree with one of everything: attributes, special files, hard links, xattrs, statfs.
#![forbid(unsafe_code)]

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{ensure, Context as _, Result};
use composefs_selftests::command::{as_nobody, capture, output, run};
use composefs_selftests::compare::{expect_equal, Links};
use composefs_selftests::image::{build, Image};
use composefs_selftests::mount::{Mount, Request};
use composefs_selftests::setup;
use composefs_selftests::tap::{self, Case};
use composefs_selftests::tree::{self, Tree};
use composefs_selftests::verity::{hex_digest, object_path, Algorithm};
use composefs_selftests::{basic_tree, odd_tree};
use rustix::fs::{
    lgetxattr, llistxattr, statfs, statx, AtFlags, Mode, OFlags, StatxAttributes, StatxFlags, CWD,
};
use rustix::io::Errno;

struct Context {
    work: PathBuf,
    source: PathBuf,
    expected: Tree,
    image: Image,
    mount: Mount,
}

fn set_up() -> Result<Context> {
    setup::load_module()?;
    let work = setup::work_directory("metadata")?;
    let source = work.join("source");
    odd_tree::create(&source)?;
    let expected = tree::read(&source)?;
    let image = build(&setup::mkcomposefs(), &source, &work, &[])?;
    let mount = image.request().at(&work.join("mount"))?;
    setup::drop_caches()?;
    Ok(Context {
        work,
        source,
        expected,
        image,
        mount,
    })
}

fn everything(context: &mut Context) -> Result<()> {
    tap::note(format_args!("{} entries", context.expected.len()));
    // Twice: from the disk, and from the caches.
    for _ in 0..2 {
        let actual = tree::read(context.mount.root())?;
        expect_equal(&context.expected, &actual, Links::Ignore)?;
    }
    Ok(())
}

fn directory_links(context: &mut Context) -> Result<()> {
    setup::require_driver()?;
    let actual = tree::read(context.mount.root())?;
    expect_equal(&context.expected, &actual, Links::Directories)
}

/// The 256 whiteouts in the root of an image are neither listed nor found; the real files that
/// have such a name are.
fn whiteouts(context: &mut Context) -> Result<()> {
    for number in 0..256 {
        let name = format!("{number:02x}");
        let there = fs::symlink_metadata(context.mount.join(&name));
        match (name.as_str(), there) {
            ("5f" | "ab", Ok(_)) => {}
            ("5f" | "ab", Err(error)) => anyhow::bail!("{name}: {error}"),
            (_, Ok(metadata)) => anyhow::bail!("{name} is there: {metadata:?}"),
            (_, Err(error)) => ensure!(
                error.kind() == std::io::ErrorKind::NotFound,
                "{name}: {error}"
            ),
        }
    }
    let listed = fs::read_dir(context.mount.root())?.count();
    let expected = fs::read_dir(&context.source)?.count();
    ensure!(
        listed == expected,
        "{listed} names in the root, expected {expected}"
    );
    Ok(())
}

/// From a dump, since mkcomposefs makes a file of its own of every name in a directory.
fn hard_links(context: &mut Context) -> Result<()> {
    let directory = context.work.join("hard-links");
    setup::create_dir(&directory)?;
    let digest = hex_digest(Algorithm::Sha256, &odd_tree::HARD_LINKED);
    let object = object_path(&digest);
    let (dump, image) = (directory.join("dump"), directory.join("image"));
    let lines = [
        "/ 0 40755 3 0 0 0 1.5 - - -",
        "/directory 0 40755 2 0 0 0 1.5 - - -",
        &format!("/directory/large 6000 100644 3 0 0 0 1.5 {object} - {digest}"),
        "/directory/large-2 0 @100644 3 0 0 0 1.5 /directory/large - -",
        "/large-3 0 @100644 3 0 0 0 1.5 /directory/large - -",
        "/small 6 100644 2 0 0 0 1.5 - inline -",
        "/small-2 0 @100644 2 0 0 0 1.5 /small - -",
        "/symlink 5 120777 2 0 0 0 1.5 small - -",
        "/symlink-2 0 @120777 2 0 0 0 1.5 /symlink - -",
        "/fifo 0 10644 2 0 0 0 1.5 - - -",
        "/directory/fifo-2 0 @10644 2 0 0 0 1.5 /fifo - -",
        "/null 0 20666 2 0 0 259 1.5 - - -",
        "/null-2 0 @20666 2 0 0 0 1.5 /null - -",
    ];
    fs::write(&dump, lines.join("\n") + "\n")?;
    let arguments = [Path::new("--from-file"), &dump, &image];
    run(setup::C_MKCOMPOSEFS, arguments)?;
    let request = Request::new(&image).basedir(&context.image.store);
    let mount = request.at(&directory.join("mount"))?;

    for names in [
        ["directory/large", "directory/large-2", "large-3"].as_slice(),
        &["small", "small-2"],
        &["symlink", "symlink-2"],
        &["fifo", "directory/fifo-2"],
        &["null", "null-2"],
    ] {
        let mut inodes = HashSet::new();
        for name in names {
            let stat = fs::symlink_metadata(mount.join(name)).context(*name)?;
            let links = stat.nlink();
            ensure!(links == names.len() as u64, "{name} has {links} links");
            inodes.insert(stat.ino());
        }
        ensure!(inodes.len() == 1, "{names:?} have inode numbers {inodes:?}");
    }
    let content = fs::read(mount.join("large-3"))?;
    ensure!(content == odd_tree::HARD_LINKED, "content differs");
    if setup::incumbent() {
        return Ok(());
    }
    // One pipe under two names.
    let open = |name: &str, flags| rustix::fs::open(mount.join(name), flags, Mode::empty());
    let writer = open("fifo", OFlags::RDWR)?;
    let reader = open("directory/fifo-2", OFlags::RDONLY | OFlags::NONBLOCK)?;
    rustix::io::write(&writer, b"through")?;
    let mut bytes = [0; 7];
    File::from(reader).read_exact(&mut bytes)?;
    ensure!(&bytes == b"through", "{bytes:?}");
    Ok(())
}

fn inode_numbers(context: &mut Context) -> Result<()> {
    setup::require_driver()?;
    let collect = || -> Result<Vec<(u64, u64)>> {
        let mut numbers = Vec::new();
        let mut own = HashSet::new();
        for path in context.expected.keys() {
            let stat = fs::symlink_metadata(context.mount.join(OsStr::from_bytes(path)))?;
            numbers.push((stat.dev(), stat.ino()));
            ensure!(own.insert(stat.ino()), "inode number {} twice", stat.ino());
        }
        Ok(numbers)
    };
    let before = collect()?;
    let devices: HashSet<u64> = before.iter().map(|(device, _)| *device).collect();
    ensure!(devices.len() == 1, "several devices: {devices:?}");
    setup::drop_caches()?;
    ensure!(before == collect()?, "inode numbers changed");
    Ok(())
}

fn statistics(context: &mut Context) -> Result<()> {
    let of_mount = statfs(context.mount.root())?;
    ensure!(of_mount.f_type != 0, "f_type is 0");
    ensure!(of_mount.f_bsize == 4096, "f_bsize is {}", of_mount.f_bsize);
    ensure!(
        of_mount.f_bfree == 0 && of_mount.f_bavail == 0,
        "free space"
    );
    ensure!(
        of_mount.f_namelen == 255,
        "f_namelen is {}",
        of_mount.f_namelen
    );
    ensure!(context.mount.is_read_only()?, "not read-only");
    if !setup::incumbent() {
        ensure!(of_mount.f_ffree == 0, "free inodes");
        let of_file = statfs(context.mount.join("contents/size-4096"))?;
        ensure!(of_file.f_type == of_mount.f_type, "a file's f_type differs");
    }
    Ok(())
}

fn fifo(context: &mut Context) -> Result<()> {
    let path = context.mount.join("special/fifo");
    ensure!(fs::metadata(&path)?.file_type().is_fifo(), "no FIFO");
    let mut options = OpenOptions::new();
    let mut both = options.read(true).write(true).open(&path)?;
    both.write_all(b"through the pipe")?;
    let mut bytes = [0; 16];
    both.read_exact(&mut bytes)?;
    ensure!(&bytes == b"through the pipe", "{bytes:?}");
    Ok(())
}

fn socket(context: &mut Context) -> Result<()> {
    let path = context.mount.join("special/socket");
    ensure!(fs::metadata(&path)?.file_type().is_socket(), "no socket");
    let error = UnixStream::connect(&path).err().context("connected")?;
    ensure!(
        error.kind() == std::io::ErrorKind::ConnectionRefused,
        "connect: {error}"
    );
    let error = File::open(&path).err().context("a socket was opened")?;
    ensure!(Errno::from_io_error(&error) == Some(Errno::NXIO), "{error}");
    Ok(())
}

fn devices(context: &mut Context) -> Result<()> {
    let mut bytes = [1; 64];
    let mut zero = File::open(context.mount.join("special/zero"))?;
    zero.read_exact(&mut bytes)?;
    ensure!(bytes == [0; 64], "/dev/zero gave something else");
    let mut null = OpenOptions::new()
        .read(true)
        .write(true)
        .open(context.mount.join("special/null"))?;
    // Writing to a device is not writing to the filesystem.
    null.write_all(b"gone")?;
    ensure!(null.read(&mut bytes)? == 0, "/dev/null gave something");
    Ok(())
}

fn names(context: &mut Context) -> Result<()> {
    let lookup = |name: &str| fs::symlink_metadata(context.mount.join(name));
    for name in [
        "names/absent",
        "absent",
        "names/nope",
        "names/..b",
        "names/xx",
        "n",
    ] {
        let error = lookup(name)
            .err()
            .with_context(|| format!("{name} is there"))?;
        ensure!(
            error.kind() == std::io::ErrorKind::NotFound,
            "{name}: {error}"
        );
        // Once more, from the name cache.
        ensure!(lookup(name).is_err(), "{name} appeared");
    }
    let error = lookup(&"x".repeat(256)).err().context("256 bytes")?;
    let errno = Errno::from_io_error(&error);
    ensure!(errno == Some(Errno::NAMETOOLONG), "{error}");
    let error = lookup("contents/size-4096/x")
        .err()
        .context("below a file")?;
    ensure!(
        Errno::from_io_error(&error) == Some(Errno::NOTDIR),
        "{error}"
    );
    let error = fs::metadata(context.mount.join("symlinks/loop")).err();
    let error = error.context("a loop of symlinks")?;
    ensure!(Errno::from_io_error(&error) == Some(Errno::LOOP), "{error}");
    let inside = context.mount.join("symlinks/to-directory/symlinks/to-file");
    ensure!(fs::metadata(inside)?.len() == 4097, "through symlinks");
    let up = context
        .mount
        .join("directories/deep/level-0/../../empty/..");
    let parent = fs::metadata(context.mount.join("directories"))?;
    ensure!(fs::metadata(up)?.ino() == parent.ino(), "through ..");
    Ok(())
}

fn xattr_errors(context: &mut Context) -> Result<()> {
    let path = context.mount.join("xattrs/plain");
    let get = |name: &str, size: usize| {
        let mut buffer = vec![0; size];
        let length = lgetxattr(&path, name, &mut buffer[..]);
        length.map(|length| buffer[..length].to_vec())
    };
    ensure!(get("user.name", 64) == Ok(b"value".to_vec()), "the value");
    ensure!(
        get("user.name", 5) == Ok(b"value".to_vec()),
        "just enough room"
    );
    ensure!(get("user.name", 4) == Err(Errno::RANGE), "too little room");
    ensure!(get("user.empty", 4) == Ok(Vec::new()), "the empty value");
    for absent in [
        "user.nam",
        "user.name2",
        "user.absent",
        "trusted.name",
        "security.x",
    ] {
        ensure!(get(absent, 64) == Err(Errno::NODATA), "{absent} is there");
    }
    let size = rustix::fs::llistxattr_query(&path)?;
    let mut list = vec![0; size];
    ensure!(
        llistxattr(&path, &mut list[..]) == Ok(size),
        "the size was wrong"
    );
    let short = llistxattr(&path, &mut list[..size - 1]);
    ensure!(
        short == Err(Errno::RANGE),
        "list with too little room: {short:?}"
    );
    // What the format keeps for itself is not shown.
    let external = context.mount.join("contents/size-8192");
    let listed = llistxattr(&external, &mut [0; 100][..])?;
    ensure!(listed == 0, "xattrs of a plain file");
    for name in ["trusted.overlay.metacopy", "trusted.overlay.redirect"] {
        let value = lgetxattr(&external, name, &mut [0; 100][..]);
        ensure!(value == Err(Errno::NODATA), "{name}: {value:?}");
    }
    Ok(())
}

/// Permissions are those in the image: they hide what they should, and whoever may read a file of
/// the mount reads it though the store is closed to them.
fn permissions(context: &mut Context) -> Result<()> {
    let path = |name: &str| context.mount.join(name).to_string_lossy().into_owned();
    let size = output(&mut as_nobody(&["wc", "-c", &path("contents/size-100000")]))?;
    ensure!(size.starts_with("100000"), "a readable file: {size}");
    let denied = capture(&mut as_nobody(&["cat", &path("owners/mode-0400")]))?;
    let message = String::from_utf8_lossy(&denied.stderr);
    ensure!(
        message.contains("Permission denied"),
        "mode 0400: {message}"
    );
    let denied = capture(&mut as_nobody(&["ls", &path("owners/directory-0000")]))?;
    let message = String::from_utf8_lossy(&denied.stderr);
    ensure!(
        message.contains("Permission denied"),
        "mode 0000: {message}"
    );
    let names = output(&mut as_nobody(&["ls", &path("owners/directory-0755/..")]))?;
    ensure!(
        names.contains("owner-70000"),
        "a readable directory: {names}"
    );
    Ok(())
}

/// A user whom only the ACL names reads the file; one whom it shuts out does not.
fn acls(_: &mut Context) -> Result<()> {
    let work = setup::work_directory("acls")?;
    let source = work.join("source");
    setup::create_dir(&source)?;
    for (name, mode, acl) in [
        ("let-in", 0o600, "user:65534:r"),
        ("shut-out", 0o644, "user:65534:-"),
    ] {
        let file = source.join(name);
        fs::write(&file, name.repeat(50))?;
        fs::set_permissions(&file, PermissionsExt::from_mode(mode))?;
        run("setfacl", [Path::new("--modify"), Path::new(acl), &file])?;
    }
    let expected = tree::read(&source)?;
    let image = build(&setup::mkcomposefs(), &source, &work, &[])?;
    let mount = image.request().at(&work.join("mount"))?;
    expect_equal(&expected, &tree::read(mount.root())?, Links::Ignore)?;
    for (name, is_let_in) in [("let-in", true), ("shut-out", false)] {
        let path = mount.join(name).to_string_lossy().into_owned();
        let read = capture(&mut as_nobody(&["cat", &path]))?.status.success();
        ensure!(read == is_let_in, "{name}: read: {read}");
    }
    Ok(())
}

/// statx says which files are protected by fs-verity.
fn verity_attribute(context: &mut Context) -> Result<()> {
    setup::require_driver()?;
    let is_verity = |name: &str| -> Result<bool> {
        let path = context.mount.join(name);
        let stat = statx(CWD, path, AtFlags::empty(), StatxFlags::BASIC_STATS)?;
        Ok(stat.stx_attributes.contains(StatxAttributes::VERITY))
    };
    for name in ["size-65", "size-4096", "size-100000"] {
        ensure!(is_verity(&format!("contents/{name}"))?, "{name} is not");
    }
    ensure!(!is_verity("contents")?, "a directory is");
    Ok(())
}

fn closed_store(_: &mut Context) -> Result<()> {
    let work = setup::work_directory("closed-store")?;
    let image = basic_tree::build_image(&work)?;
    let mount = image.request().at(&work.join("mount"))?;
    let closed = PermissionsExt::from_mode(0o700);
    fs::set_permissions(&image.store, closed)?;
    let object = image.object(&basic_tree::content("external-4096"));
    let denied = capture(&mut as_nobody(&["cat", &object.to_string_lossy()]))?;
    ensure!(!denied.status.success(), "the store is open");
    let path = mount.join("external-4096").to_string_lossy().into_owned();
    let size = output(&mut as_nobody(&["wc", "-c", &path]))?;
    ensure!(size.starts_with("4096"), "{size}");
    Ok(())
}

const CASES: &[Case<Context>] = &[
    ("every path is as in the source", everything),
    (
        "link counts of directories are as in the source",
        directory_links,
    ),
    ("whiteouts are hidden", whiteouts),
    ("hard links are one inode", hard_links),
    (
        "inode numbers: one per file, on one device, stable",
        inode_numbers,
    ),
    ("statfs", statistics),
    ("a FIFO works", fifo),
    ("a socket nobody listens on", socket),
    ("devices work", devices),
    ("names that are not there, and paths through links", names),
    ("xattrs: sizes, absent ones, hidden ones", xattr_errors),
    ("permissions of the image hold", permissions),
    ("ACLs of the image hold", acls),
    (
        "external files have the attribute of fs-verity",
        verity_attribute,
    ),
    (
        "a store that users cannot enter serves them nevertheless",
        closed_store,
    ),
];

fn main() -> ExitCode {
    tap::run(set_up, CASES)
}
