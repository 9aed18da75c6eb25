// SPDX-License-Identifier: GPL-2.0-only
//! File handles that were not made here: whoever can write an xattr or a small file can have any
//! bytes in an image, also such as make up an inode. A handle is good if a path leads to its inode.
#![forbid(unsafe_code)]

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{ensure, Context as _, Result};
use composefs_selftests::command::output;
use composefs_selftests::disk::{on_the_disk, Disk};
use composefs_selftests::failing_disk::FailingDisk;
use composefs_selftests::image::{enable_verity, Image};
use composefs_selftests::mount::Mount;
use composefs_selftests::tap::{self, Case, Skip};
use composefs_selftests::{python, setup};

/// Where inodes are: their number is that of such a slot.
const SLOT: usize = 32;

struct Context {
    work: PathBuf,
    image: Image,
    /// Numbers of the inodes that were made up: a regular file and a directory.
    forged: [u64; 2],
    mount: Mount,
}

fn set_up() -> Result<Context> {
    setup::require_driver()?;
    setup::load_module()?;
    let work = setup::work_directory("forged_handles")?;
    let (image, forged) = make_image(&work)?;
    let mount = image.request().at(&work.join("mount"))?;
    Ok(Context {
        work,
        image,
        forged,
        mount,
    })
}

/// An image in which inodes are made up in the value of an xattr, and in the content of a file, and
/// the numbers of the former.
fn make_image(work: &Path) -> Result<(Image, [u64; 2])> {
    let file = work.join("image");
    let make = |padding: usize, nid: u64| -> Result<usize> {
        let dump = dump(&[vec![b'p'; padding], forgery(nid)].concat());
        fs::write(work.join("dump"), dump)?;
        let mut tool = Command::new(setup::mkcomposefs());
        output(tool.arg("--from-file").arg(work.join("dump")).arg(&file))?;
        let written = fs::read(&file)?;
        let found = written.windows(CONTENT.len()).position(|at| at == CONTENT);
        let content = found.context("the xattr is not in the image")?;
        content.checked_sub(SLOT).context("no room for an inode")
    };
    // Where it comes to lie shows how much is missing to the next slot.
    let padding = make(0, 0)?.wrapping_neg() % SLOT;
    let nid = (make(padding, 0)? / SLOT) as u64;
    let at = make(padding, nid)?;
    ensure!(
        at as u64 == nid * SLOT as u64,
        "the forgery is at byte {at}"
    );

    let image = Image {
        digest: enable_verity(&file)?,
        store: work.join("store"),
        file,
    };
    setup::create_dir(&image.store)?;
    Ok((image, [nid, nid + 2]))
}

/// What the made-up file contains.
const CONTENT: &[u8; SLOT] = b"nobody has put this in the tree.";

/// A compact inode whose content, of `size` bytes, follows it.
fn inode(mode: u16, size: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    for half in [4, 0, mode, 1] {
        bytes.extend_from_slice(&u16::to_le_bytes(half));
    }
    bytes.extend_from_slice(&(size as u32).to_le_bytes());
    bytes.resize(SLOT, 0);
    bytes
}

/// A file that has the number `nid`, and a directory that names it, as an image would have them.
fn forgery(nid: u64) -> Vec<u8> {
    let names = [("..", 36, 2), ("file", nid, 1)];
    let mut listing = Vec::new();
    let mut at = 12 * names.len();
    for (name, nid, kind) in names {
        listing.extend_from_slice(&u64::to_le_bytes(nid));
        listing.extend_from_slice(&(at as u16).to_le_bytes());
        listing.extend_from_slice(&[kind, 0]);
        at += name.len();
    }
    for (name, ..) in names {
        listing.extend_from_slice(name.as_bytes());
    }
    let file = [inode(0o104_755, CONTENT.len()), CONTENT.to_vec()];
    let directory = [inode(0o040_777, listing.len()), listing];
    [file.concat(), directory.concat()].concat()
}

/// The tree: directories of one block and of several, wide and deep; hard links, devices, whiteouts.
fn dump(forgery: &[u8]) -> String {
    let escape =
        |bytes: &[u8]| -> String { bytes.iter().map(|byte| format!("\\x{byte:02x}")).collect() };
    let mut lines = String::from("/ 0 40755 5 0 0 0 1.0 - - -\n");
    let mut line = |text: String| {
        lines.push_str(&text);
        lines.push('\n');
    };
    line(format!(
        "/a 0 100644 1 0 0 0 1.0 - - - user.forged={}",
        escape(forgery)
    ));
    // Every slot of its content is an inode, wherever it comes to lie.
    let content = inode(0o104_755, 0).repeat(2);
    line(format!("/b 64 100644 1 0 0 0 1.0 - {} -", escape(&content)));
    line("/deep 0 40755 2 0 0 0 1.0 - - -".into());
    let mut path = String::from("/deep");
    for level in 0..60 {
        path.push_str(&format!("/{level}"));
        line(format!("{path} 0 40755 2 0 0 0 1.0 - - -"));
    }
    line(format!("{path}/file 1 100644 2 0 0 0 1.0 - x -"));
    line("/linked 0 40755 2 0 0 0 1.0 - - -".into());
    line(format!(
        "/linked/file 0 @100644 1 0 0 0 1.0 {path}/file - -"
    ));
    line("/linked/null 0 20666 1 0 0 259 1.0 - - -".into());
    line("/linked/symlink 4 120777 1 0 0 0 1.0 file - -".into());
    line("/linked/whiteout 0 20000 1 0 0 0 1.0 - - -".into());
    line("/wide 0 40755 2 0 0 0 1.0 - - -".into());
    for number in 0..1000 {
        line(format!("/wide/{number:04} 0 40755 2 0 0 0 1.0 - - -"));
        line(format!(
            "/wide/{number:04}/file 5 100644 1 0 0 0 1.0 - {number:05} -"
        ));
    }
    lines
}

/// What the scripts share: `decode()` opens the handle of an inode, `numbers()` are those that paths
/// lead to.
const SCRIPT: &str = include_str!("../../python/forged_handles.py");

fn run(mount: &Mount, script: &str, arguments: &[String]) -> Result<String> {
    let root = mount.root().display().to_string();
    let arguments = [&[root], arguments].concat();
    python::run(&format!("{SCRIPT}{script}"), &arguments)
}

impl Context {
    fn run(&self, script: &str, arguments: &[String]) -> Result<String> {
        run(&self.mount, script, arguments)
    }

    /// The number of the file at `path`.
    fn number(&self, path: &str) -> Result<String> {
        let metadata = fs::symlink_metadata(self.mount.join(path))?;
        Ok(metadata.ino().to_string())
    }

    /// The image once more, with fs-verity, in a directory of another disk.
    fn copy_to(&self, directory: &Path) -> Result<Image> {
        let file = directory.join("image");
        fs::copy(&self.image.file, &file)?;
        enable_verity(&file)?;
        Ok(Image {
            file,
            ..self.image.clone()
        })
    }

    /// Nothing of it is in a cache.
    fn remount(&mut self) -> Result<()> {
        let mount = self.image.request().at(&self.work.join("again"))?;
        std::mem::replace(&mut self.mount, mount).unmount()?;
        setup::drop_caches()
    }
}

/// The very first that anybody asks for.
fn forged(context: &mut Context) -> Result<()> {
    let [file, directory] = context.forged.map(|nid| nid.to_string());
    let script = include_str!("../../python/forged_handles_refused.py");
    context.run(script, &[file, directory]).map(drop)
}

/// Which of all slots are decoded, once with nothing cached and once more.
fn all_slots(context: &mut Context) -> Result<()> {
    context.remount()?;
    let slots = fs::metadata(&context.image.file)?.len() / SLOT as u64;
    let script = include_str!("../../python/forged_handles_all.py");
    let counted = context.run(script, &[slots.to_string()])?;
    tap::note(format_args!("slots, and inodes among them: {counted}"));
    Ok(())
}

/// They all come when the caches are cold, and have to agree on what is there.
fn many_at_once(context: &mut Context) -> Result<()> {
    let script = include_str!("../../python/forged_handles_threads.py");
    context.remount()?;
    context.run(script, &[]).map(drop)
}

/// A block of a large directory has gone bad: what is named elsewhere is not affected.
fn unreadable_directory(context: &mut Context) -> Result<()> {
    // A page is read whole, and what is in it with a bad block goes with it.
    if setup::page_size()? != 4096 {
        return Err(Skip("a page has more than one block of the image".into()).into());
    }
    let mut disk = Disk::create(&context.work, 64 << 20)?;
    let image = context.copy_to(disk.root())?;
    let content = fs::read(&image.file)?;
    let names = content.windows(8).position(|at| at == b"03000301");
    let names = names.context("the directory is not in the image")?;
    let extents = disk.extents(&image.file)?;
    disk.tamper(&[(on_the_disk(&extents, names as u64)?, 1)])?;

    let mount = image.request().at(&context.work.join("tampered"))?;
    let deep = (0..60).fold("deep".into(), |path, level| format!("{path}/{level}"));
    let script = include_str!("../../python/forged_handles_damaged.py");
    let [forged, _] = context.forged;
    let numbers = [
        context.number("a")?,
        context.number(&deep)?,
        context.number("wide/0001/file")?,
        context.number("wide/0300")?,
        forged.to_string(),
    ];
    run(&mount, script, &numbers)?;
    mount.unmount()
}

/// Nothing can be read at first, and then it can.
fn disk_that_comes_back(context: &mut Context) -> Result<()> {
    let disk = FailingDisk::create(&context.work, "handles", 64 << 20)?;
    let image = context.copy_to(disk.root())?;
    let mount = image.request().at(&context.work.join("failing"))?;
    let [forged, _] = context.forged;
    let numbers = [context.number("linked/file")?, forged.to_string()];

    disk.fail()?;
    let none = "assert not any(decodes(int(number)) for number in argument)";
    run(&mount, none, &numbers)?;
    disk.repair()?;
    let one = "assert list(map(decodes, map(int, argument))) == [True, False]";
    run(&mount, one, &numbers)?;
    mount.unmount()
}

const CASES: &[Case<Context>] = &[
    ("inodes that are made up in the value of an xattr", forged),
    ("every slot of an image", all_slots),
    ("many at once", many_at_once),
    ("a directory that cannot be read", unreadable_directory),
    ("a disk that fails and comes back", disk_that_comes_back),
];

fn main() -> ExitCode {
    tap::run(set_up, CASES)
}
