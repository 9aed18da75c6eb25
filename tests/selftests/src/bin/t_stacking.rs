// SPDX-License-Identifier: GPL-2.0-only
//! Under overlayfs with its features, images in images, and as the root of a container.
#![forbid(unsafe_code)]

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{symlink, FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{ensure, Context as _, Result};
use composefs_selftests::basic_tree::{self, content};
use composefs_selftests::command::{capture, output, run};
use composefs_selftests::compare::{expect_equal, Links};
use composefs_selftests::image::build;
use composefs_selftests::mount::Mount;
use composefs_selftests::overlay::Overlay;
use composefs_selftests::setup;
use composefs_selftests::tap::{self, Case};
use composefs_selftests::tree::{self, Tree};
use rustix::fs::{lgetxattr, lsetxattr, mknodat, FileType, Mode, XattrFlags, CWD};

struct Context {
    work: PathBuf,
    lower: Mount,
    before: Tree,
}

fn set_up() -> Result<Context> {
    setup::require_driver()?;
    setup::load_module()?;
    setup::modprobe("overlay")?;
    let work = setup::work_directory("stacking")?;
    let source = work.join("source");
    basic_tree::create(&source)?;
    setup::create_dir(&source.join("tree/a/b"))?;
    fs::write(source.join("tree/a/b/file"), vec![b'f'; 5000])?;
    fs::write(source.join("tree/a/inline"), "inline")?;
    lsetxattr(
        source.join("tree/a"),
        "user.kept",
        b"yes",
        XattrFlags::empty(),
    )?;
    let image = build(&setup::mkcomposefs(), &source, &work, &[])?;
    let lower = image.request().at(&work.join("lower"))?;
    let before = tree::read(lower.root())?;
    Ok(Context {
        work,
        lower,
        before,
    })
}

impl Context {
    fn overlay(&self, name: &str, features: &str) -> Result<Overlay> {
        Overlay::new(&self.work, name, &[self.lower.root()], features)
    }

    fn lower_is_unchanged(&self) -> Result<()> {
        expect_equal(&self.before, &tree::read(self.lower.root())?, Links::Files)
    }
}

/// A change of attributes copies no data; the content comes from below until it is written to.
fn metacopy(context: &mut Context) -> Result<()> {
    let overlay = context.overlay("metacopy", ",metacopy=on,redirect_dir=on")?;
    let mount = overlay.mount()?;
    for name in ["external-1m", "external-4097", "inline-64"] {
        let path = mount.join(name);
        fs::set_permissions(&path, PermissionsExt::from_mode(0o741))?;
        let upper = fs::metadata(overlay.upper().join(name))?;
        ensure!(
            upper.blocks() <= 8,
            "{name}: {} blocks were copied",
            upper.blocks()
        );
        ensure!(
            lgetxattr(
                overlay.upper().join(name),
                "trusted.overlay.metacopy",
                &mut [0; 256]
            )
            .is_ok(),
            "{name}: not a metacopy"
        );
        ensure!(fs::read(&path)? == content(name), "{name}: content");
    }
    fs::rename(mount.join("external-4097"), mount.join("tree/moved"))?;
    mount.unmount()?;
    setup::drop_caches()?;
    let mount = overlay.mount()?;
    let moved = mount.join("tree/moved");
    ensure!(
        fs::metadata(&moved)?.mode() & 0o7777 == 0o741,
        "the mode is lost"
    );
    ensure!(
        fs::read(&moved)? == content("external-4097"),
        "moved: content"
    );
    ensure!(!mount.join("external-4097").exists(), "it is still there");
    let mut file = OpenOptions::new()
        .append(true)
        .open(mount.join("external-1m"))?;
    file.write_all(b"more")?;
    drop(file);
    let expected = [content("external-1m").as_slice(), b"more"].concat();
    ensure!(
        fs::read(mount.join("external-1m"))? == expected,
        "after writing"
    );
    mount.unmount()?;
    context.lower_is_unchanged()
}

/// Directories from below are renamed without copying what is in them.
fn redirect(context: &mut Context) -> Result<()> {
    let overlay = context.overlay("redirect", ",redirect_dir=on")?;
    let mount = overlay.mount()?;
    fs::rename(mount.join("tree/a"), mount.join("renamed"))?;
    fs::rename(mount.join("renamed/b"), mount.join("directory/b"))?;
    for again in [false, true] {
        ensure!(
            fs::read(mount.join("renamed/inline"))? == b"inline",
            "inline, again: {again}"
        );
        let file = fs::read(mount.join("directory/b/file"))?;
        ensure!(file == vec![b'f'; 5000], "file, again: {again}");
        ensure!(
            !mount.join("tree/a").exists(),
            "the old name, again: {again}"
        );
        let mut value = [0; 10];
        let length = lgetxattr(mount.join("renamed"), "user.kept", &mut value)?;
        ensure!(value.get(..length) == Some(b"yes"), "xattr, again: {again}");
        ensure!(
            !overlay.upper().join("renamed/inline").exists(),
            "what is in the directory was copied"
        );
        setup::drop_caches()?;
    }
    mount.unmount()?;
    let mount = overlay.mount()?;
    ensure!(
        fs::read(mount.join("renamed/inline"))? == b"inline",
        "inline, mounted again"
    );
    mount.unmount()?;
    // Without the feature, the rename is refused, and tools copy.
    let overlay = context.overlay("no-redirect", ",redirect_dir=nofollow")?;
    let mount = overlay.mount()?;
    let refused = fs::rename(mount.join("tree/a"), mount.join("renamed"));
    ensure!(refused.is_err(), "renamed without redirect_dir");
    let (from, to) = (mount.join("tree/a"), mount.join("renamed"));
    run("mv", [&from, &to])?;
    ensure!(fs::read(mount.join("renamed/b/file"))?.len() == 5000, "mv");
    mount.unmount()?;
    context.lower_is_unchanged()
}

/// With an index overlayfs finds what it copied by the file handles of the lower filesystem; they
/// must be the same after everything was mounted anew.
fn index(context: &mut Context) -> Result<()> {
    let overlay = context.overlay("index", ",index=on,nfs_export=on")?;
    let mount = overlay.mount()?;
    fs::write(mount.join("external-65"), "changed")?;
    fs::remove_file(mount.join("external-4095"))?;
    mount.unmount()?;
    for _ in 0..2 {
        setup::drop_caches()?;
        let mount = overlay.mount()?;
        ensure!(
            fs::read(mount.join("external-65"))? == b"changed",
            "what was changed"
        );
        ensure!(!mount.join("external-4095").exists(), "what was removed");
        let name = "external-1m";
        ensure!(fs::read(mount.join(name))? == content(name), "{name}");
        mount.unmount()?;
    }
    context.lower_is_unchanged()
}

/// Inode numbers are those of below as long as a file is not changed, and keep when it is.
fn inode_numbers(context: &mut Context) -> Result<()> {
    let mount = context.overlay("numbers", ",xino=on")?.mount()?;
    let path = mount.join("external-8192");
    let (before, below) = (
        fs::metadata(&path)?.ino(),
        fs::metadata(context.lower.join("external-8192"))?.ino(),
    );
    ensure!(
        before & 0xffff_ffff == below & 0xffff_ffff,
        "{before} on top of {below}"
    );
    OpenOptions::new()
        .append(true)
        .open(&path)?
        .write_all(b"x")?;
    ensure!(
        fs::metadata(&path)?.ino() == before,
        "the number changes with the first write"
    );
    mount.unmount()
}

/// Nodes of all types can be put where the lower layer has something else, and the other way.
fn replacing(context: &mut Context) -> Result<()> {
    let mount = context.overlay("replacing", "")?.mount()?;
    fs::remove_file(mount.join("external-65"))?;
    fs::create_dir(mount.join("external-65"))?;
    fs::write(mount.join("external-65/inside"), "x")?;
    fs::remove_dir_all(mount.join("directory"))?;
    symlink("tree", mount.join("directory"))?;
    fs::remove_file(mount.join("inline-1"))?;
    let mode = Mode::from_raw_mode(0o600);
    mknodat(CWD, mount.join("inline-1"), FileType::Fifo, mode, 0)?;
    fs::remove_dir_all(mount.join("tree"))?;
    fs::create_dir(mount.join("tree"))?;
    fs::hard_link(mount.join("external-4096"), mount.join("tree/link"))?;
    let names = |path: &Path| -> Result<BTreeSet<String>> {
        let items = fs::read_dir(path)?;
        items
            .map(|item| Ok(item?.file_name().to_string_lossy().into_owned()))
            .collect()
    };
    setup::drop_caches()?;
    ensure!(names(&mount.join("external-65"))? == BTreeSet::from(["inside".into()]));
    ensure!(names(&mount.join("tree"))? == BTreeSet::from(["link".into()]));
    ensure!(fs::read_link(mount.join("directory"))? == Path::new("tree"));
    ensure!(fs::symlink_metadata(mount.join("inline-1"))?
        .file_type()
        .is_fifo());
    ensure!(fs::read(mount.join("tree/link"))? == content("external-4096"));
    ensure!(fs::metadata(mount.join("tree/link"))?.nlink() == 2);
    mount.unmount()?;
    context.lower_is_unchanged()
}

/// The upper layer of an overlayfs, with its whiteouts and opaque directories, becomes an image;
/// as a layer, that image has the same effect. Such an image in an image has it as well.
fn upper_as_image(context: &mut Context) -> Result<()> {
    let overlay = context.overlay("first", "")?;
    let mount = overlay.mount()?;
    fs::remove_file(mount.join("external-4096"))?;
    fs::remove_dir_all(mount.join("tree"))?;
    fs::create_dir(mount.join("tree"))?;
    fs::write(mount.join("tree/new"), vec![b'n'; 2000])?;
    fs::write(mount.join("inline-1"), "changed")?;
    let mut expected = tree::read(mount.root())?;
    mount.unmount()?;
    ensure!(
        fs::symlink_metadata(overlay.upper().join("external-4096"))?
            .file_type()
            .is_char_device(),
        "overlayfs made no whiteout"
    );

    let directory = context.work.join("layer");
    let image = build(&setup::mkcomposefs(), &overlay.upper(), &directory, &[])?;
    let layer = image.request().at(&directory.join("mount"))?;
    let check = |layer: &Path, name: &str, expected: &mut Tree| -> Result<()> {
        let stacked = Overlay::new(&context.work, name, &[layer, context.lower.root()], "")?;
        let mount = stacked.mount()?;
        let mut seen = tree::read(mount.root())?;
        // The root is that of the upper layer, which is new.
        seen.remove(&[][..]);
        expected.remove(&[][..]);
        expect_equal(expected, &seen, Links::Ignore)?;
        mount.unmount()
    };
    check(layer.root(), "second", &mut expected).context("as a layer")?;

    // The mounted layer is the source of another image.
    let outer = context.work.join("outer");
    let image = build(&setup::mkcomposefs(), layer.root(), &outer, &[])?;
    let outer = image.request().at(&outer.join("mount"))?;
    expect_equal(
        &tree::read(layer.root())?,
        &tree::read(outer.root())?,
        Links::Ignore,
    )?;
    check(outer.root(), "third", &mut expected).context("an image of the layer")?;
    context.lower_is_unchanged()
}

/// A root filesystem with a shell, entered with pivot_root, with an overlayfs on top and without.
fn container(context: &mut Context) -> Result<()> {
    let source = context.work.join("root-source");
    for directory in ["bin", "proc", "old", "etc", "tmp"] {
        setup::create_dir(&source.join(directory))?;
    }
    fs::write(source.join("etc/marker"), "in the image\n")?;
    for program in ["sh", "cat", "ls", "mount", "umount", "readlink"] {
        let file = fs::canonicalize(Path::new("/usr/bin").join(program))?;
        fs::copy(&file, source.join("bin").join(program))?;
        for word in run("ldd", [&file])?.split_whitespace() {
            let library = Path::new(word);
            if library.is_absolute() && library.exists() {
                let to = source.join(word.trim_start_matches('/'));
                setup::create_dir(to.parent().context("parent")?)?;
                fs::copy(library, &to)?;
            }
        }
    }
    let directory = context.work.join("root");
    let image = build(&setup::mkcomposefs(), &source, &directory, &[])?;
    let root = image.request().at(&directory.join("mount"))?;
    let overlay = Overlay::new(&directory, "overlay", &[root.root()], ",metacopy=on")?;
    let merged = overlay.mount()?;
    const INSIDE: &str = "PATH=/bin; mount -t proc proc /proc && umount -l /old && \
         cat /etc/marker && readlink /proc/self/exe && ls /old | cat && \
         if (echo x >/etc/written); then echo writable; else echo read-only; fi 2>&1";
    for (root, expected) in [(root.root(), "read-only"), (merged.root(), "writable")] {
        let script = format!(
            "mount --make-rprivate / && mount --bind {0} {0} && cd {0} && \
             pivot_root . old && cd / && exec /bin/sh -c '{INSIDE}'",
            root.display()
        );
        let mut container = Command::new("unshare");
        let printed = output(container.args(["--mount", "--pid", "--fork", "sh", "-c", &script]))
            .with_context(|| root.display().to_string())?;
        ensure!(
            printed.starts_with("in the image\n/bin/readlink\n") && printed.ends_with(expected),
            "{}: {printed:?}",
            root.display()
        );
    }
    // Root in a user namespace of its own may look, and may not mount an image by itself.
    let mut user = Command::new("unshare");
    let chroot = format!("chroot {} /bin/cat /etc/marker", root.root().display());
    user.args(["--user", "--map-root-user", "--mount", "sh", "-c", &chroot]);
    ensure!(output(&mut user)? == "in the image", "in a user namespace");
    let mut user = Command::new("unshare");
    let mount = format!(
        "mount -i -t composefs -o basedir={} {} /mnt",
        image.store.display(),
        image.file.display()
    );
    user.args(["--user", "--map-root-user", "--mount", "sh", "-c", &mount]);
    ensure!(
        !capture(&mut user)?.status.success(),
        "mounted in a user namespace"
    );
    merged.unmount()?;
    root.unmount()
}

const CASES: &[Case<Context>] = &[
    ("metacopy", metacopy),
    ("redirect_dir", redirect),
    ("index and nfs_export", index),
    ("inode numbers on top", inode_numbers),
    ("replacing one type by another", replacing),
    (
        "an upper layer as an image, and an image of that",
        upper_as_image,
    ),
    ("the root of a container", container),
];

fn main() -> ExitCode {
    tap::run(set_up, CASES)
}
