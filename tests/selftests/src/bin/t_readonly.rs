// SPDX-License-Identifier: GPL-2.0-only
//! Nothing can be changed in a mount: every attempt fails with EROFS, and changes nothing.
#![forbid(unsafe_code)]

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{ensure, Result};
use composefs_selftests::basic_tree;
use composefs_selftests::compare::{expect_equal, Links};
use composefs_selftests::image::Image;
use composefs_selftests::mount::Mount;
use composefs_selftests::setup;
use composefs_selftests::tap::{self, Case};
use composefs_selftests::tree::{self, Tree};
use rustix::fs::{
    accessat, chmodat, chownat, linkat, lremovexattr, lsetxattr, mkdirat, mknodat, open, renameat,
    symlinkat, unlinkat, utimensat, Access, AtFlags, FileType, Gid, Mode, OFlags, Timespec,
    Timestamps, Uid, XattrFlags, CWD,
};
use rustix::io::Errno;
use rustix::mount::MountFlags;

struct Context {
    image: Image,
    mount: Mount,
    before: Tree,
    store: Tree,
}

fn set_up() -> Result<Context> {
    setup::load_module()?;
    let work = setup::work_directory("readonly")?;
    let source = work.join("source");
    basic_tree::create(&source)?;
    lsetxattr(
        source.join("external-65"),
        "user.there",
        b"1",
        XattrFlags::empty(),
    )?;
    let image = composefs_selftests::image::build(&setup::mkcomposefs(), &source, &work, &[])?;
    // Without MS_RDONLY: the filesystem is read-only of its own accord.
    let mount = image.request().at(&work.join("mount"))?;
    let before = tree::read(mount.root())?;
    let store = tree::read(&image.store)?;
    Ok(Context {
        image,
        mount,
        before,
        store,
    })
}

fn expect_erofs<T>(what: &str, result: rustix::io::Result<T>) -> Result<()> {
    let errno = result.err();
    ensure!(
        errno == Some(Errno::ROFS),
        "{what}: {errno:?}, expected EROFS"
    );
    Ok(())
}

const REGULAR: [&str; 3] = ["inline-64", "external-65", "external-1m"];

fn flags(context: &mut Context) -> Result<()> {
    ensure!(
        context.mount.is_read_only()?,
        "statvfs does not say read-only"
    );
    Ok(())
}

fn open_for_writing(context: &mut Context) -> Result<()> {
    for name in REGULAR {
        for flags in [
            OFlags::WRONLY,
            OFlags::RDWR,
            OFlags::WRONLY | OFlags::APPEND,
            OFlags::WRONLY | OFlags::TRUNC,
            OFlags::RDONLY | OFlags::TRUNC,
            OFlags::RDWR | OFlags::CREATE,
        ] {
            let opened = open(context.mount.join(name), flags, Mode::from_raw_mode(0o600));
            expect_erofs(&format!("open {name} {flags:?}"), opened)?;
        }
    }
    Ok(())
}

fn create(context: &mut Context) -> Result<()> {
    let new = context.mount.join("directory/new");
    let mode = Mode::from_raw_mode(0o700);
    let opened = open(&new, OFlags::WRONLY | OFlags::CREATE, mode);
    expect_erofs("open O_CREAT", opened)?;
    expect_erofs("mkdir", mkdirat(CWD, &new, mode))?;
    for kind in [
        FileType::RegularFile,
        FileType::Fifo,
        FileType::CharacterDevice,
    ] {
        expect_erofs("mknod", mknodat(CWD, &new, kind, mode, 259))?;
    }
    expect_erofs("symlink", symlinkat("target", CWD, &new))?;
    let old = context.mount.join("external-65");
    expect_erofs("link", linkat(CWD, &old, CWD, &new, AtFlags::empty()))?;
    let opened = open(context.mount.root(), OFlags::WRONLY | OFlags::TMPFILE, mode).err();
    ensure!(
        matches!(opened, Some(Errno::ROFS | Errno::OPNOTSUPP)),
        "open O_TMPFILE: {opened:?}"
    );
    // What exists keeps its own error.
    let exists = mkdirat(CWD, context.mount.join("directory"), mode).err();
    ensure!(
        exists == Some(Errno::EXIST),
        "mkdir of a directory: {exists:?}"
    );
    Ok(())
}

fn remove(context: &mut Context) -> Result<()> {
    let path = |name: &str| context.mount.join(name);
    for name in ["inline-64", "external-65", "link", "dangling"] {
        expect_erofs("unlink", unlinkat(CWD, path(name), AtFlags::empty()))?;
    }
    expect_erofs(
        "rmdir",
        unlinkat(CWD, path("directory/deeper"), AtFlags::REMOVEDIR),
    )?;
    for (old, new) in [
        ("external-65", "new"),
        ("external-65", "inline-64"),
        ("directory", "elsewhere"),
        ("link", "external-65"),
    ] {
        let renamed = renameat(CWD, path(old), CWD, path(new));
        expect_erofs(&format!("rename {old} {new}"), renamed)?;
    }
    Ok(())
}

fn attributes(context: &mut Context) -> Result<()> {
    let now = Timespec {
        tv_sec: 1,
        tv_nsec: 2,
    };
    let times = Timestamps {
        last_access: now,
        last_modification: now,
    };
    for name in ["inline-64", "external-65", "directory", "."] {
        let path: PathBuf = context.mount.join(name);
        let mode = Mode::from_raw_mode(0o777);
        expect_erofs("chmod", chmodat(CWD, &path, mode, AtFlags::empty()))?;
        let (uid, gid) = (Uid::from_raw(1), Gid::from_raw(1));
        let chowned = chownat(CWD, &path, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW);
        expect_erofs("chown", chowned)?;
        expect_erofs("utimens", utimensat(CWD, &path, &times, AtFlags::empty()))?;
        for key in ["user.new", "trusted.new", "security.new"] {
            let set = lsetxattr(&path, key, b"1", XattrFlags::empty());
            expect_erofs(&format!("setxattr {key}"), set)?;
        }
    }
    let file = context.mount.join("external-65");
    expect_erofs("removexattr", lremovexattr(&file, "user.there"))?;
    let link = context.mount.join("link");
    let times = utimensat(CWD, &link, &times, AtFlags::SYMLINK_NOFOLLOW);
    expect_erofs("utimens of a symlink", times)?;
    Ok(())
}

fn through_file_descriptors(context: &mut Context) -> Result<()> {
    for name in REGULAR {
        let file = File::open(context.mount.join(name))?;
        let mode = Mode::from_raw_mode(0o777);
        expect_erofs("fchmod", rustix::fs::fchmod(&file, mode))?;
        let uid = Some(Uid::from_raw(1));
        expect_erofs("fchown", rustix::fs::fchown(&file, uid, None))?;
        let set = rustix::fs::fsetxattr(&file, "user.new", b"1", XattrFlags::empty());
        expect_erofs("fsetxattr", set)?;
        // Not open for writing, which is noticed first.
        let truncated = rustix::fs::ftruncate(&file, 0).err();
        ensure!(truncated == Some(Errno::INVAL), "ftruncate: {truncated:?}");
        let written = rustix::io::write(&file, b"x").err();
        ensure!(written == Some(Errno::BADF), "write: {written:?}");
    }
    Ok(())
}

fn access(context: &mut Context) -> Result<()> {
    for name in ["external-65", "inline-64", "directory"] {
        let path = context.mount.join(name);
        let write = accessat(CWD, &path, Access::WRITE_OK, AtFlags::empty());
        expect_erofs("access W_OK", write)?;
        accessat(CWD, &path, Access::READ_OK, AtFlags::empty())?;
    }
    Ok(())
}

fn remount(context: &mut Context) -> Result<()> {
    setup::require_driver()?;
    let root = context.mount.root();
    let remounted = rustix::mount::mount_remount(root, MountFlags::empty(), c"");
    expect_erofs("remount rw", remounted)?;
    ensure!(context.mount.is_read_only()?, "it is writable after that");
    // Remounting read-only is no change.
    rustix::mount::mount_remount(root, MountFlags::RDONLY, c"")?;
    ensure!(context.mount.is_read_only()?, "it is writable after that");
    Ok(())
}

fn unchanged(context: &mut Context) -> Result<()> {
    for (before, root) in [
        (&context.before, context.mount.root()),
        (&context.store, Path::new(&context.image.store)),
    ] {
        expect_equal(before, &tree::read(root)?, Links::Files)?;
    }
    let content = fs::read(context.mount.join("external-1m"))?;
    ensure!(
        content == basic_tree::content("external-1m"),
        "content differs"
    );
    Ok(())
}

const CASES: &[Case<Context>] = &[
    ("the filesystem says that it is read-only", flags),
    ("opening a file for writing", open_for_writing),
    ("creating files of every type", create),
    ("removing and renaming", remove),
    ("mode, owner, times and xattrs", attributes),
    ("the same through open files", through_file_descriptors),
    ("access(2) knows", access),
    ("remounting read-write", remount),
    ("mount and store are unchanged", unchanged),
];

fn main() -> ExitCode {
    tap::run(set_up, CASES)
}
