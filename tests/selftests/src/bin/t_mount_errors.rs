// SPDX-License-Identifier: GPL-2.0-only
//! Mounts that must fail: with the right errno, and one message that names the cause.
#![forbid(unsafe_code)]

use std::cell::RefCell;
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{bail, ensure, Context as _, Result};
use composefs_fuzz::random::Random;
use composefs_selftests::basic_tree;
use composefs_selftests::command::{capture, run};
use composefs_selftests::image::{enable_verity, Image};
use composefs_selftests::kernel_log::{of_failure, KernelLog};
use composefs_selftests::mount::{Mount, Request};
use composefs_selftests::setup;
use composefs_selftests::tap::{self, Case};
use composefs_selftests::tree;
use rustix::fs::getxattr;
use rustix::io::Errno;
use rustix::mount::MountFlags;

struct Context {
    work: PathBuf,
    image: Image,
    /// The same image in a file without fs-verity, which can be written to.
    plain: PathBuf,
    bytes: Vec<u8>,
    /// The message shown last, not to repeat it.
    shown: RefCell<String>,
}

fn set_up() -> Result<Context> {
    setup::require_driver()?;
    setup::load_module()?;
    let work = setup::work_directory("mount-errors")?;
    let image = basic_tree::build_image(&work)?;
    let bytes = fs::read(&image.file)?;
    let plain = work.join("plain");
    fs::write(&plain, &bytes)?;
    Ok(Context {
        work,
        image,
        plain,
        bytes,
        shown: RefCell::default(),
    })
}

impl Context {
    /// The mount must fail with `errno`, and leave one message with all of `words`.
    fn refused(&self, request: &Request, errno: Errno, words: &[&str]) -> Result<()> {
        let refusal = request.refused(&self.work.join("mount"), errno, words)?;
        let message = refusal.message().unwrap_or_default();
        let mut shown = self.shown.borrow_mut();
        if shown.as_str() != message {
            tap::note(format_args!("{errno}: {message}"));
            *shown = message.to_owned();
        }
        Ok(())
    }

    /// A file with this content, and the mount of it with the image's store.
    fn variant(&self, name: &str, content: &[u8]) -> Result<Request> {
        let file = self.work.join(name);
        fs::write(&file, content).with_context(|| file.display().to_string())?;
        Ok(Request::new(&file).basedir(&self.image.store))
    }
}

fn no_image(context: &mut Context) -> Result<()> {
    let missing = context.work.join("no-such-image");
    let request = Request::new(&missing).basedir(&context.image.store);
    context.refused(&request, Errno::NOENT, &["no-such-image"])?;
    let request = Request::default().basedir(&context.image.store);
    context.refused(&request, Errno::INVAL, &["no image"])
}

fn not_an_image(context: &mut Context) -> Result<()> {
    let text = b"This is no image of any kind.\n".repeat(1000);
    let request = context.variant("text", &text)?;
    context.refused(&request, Errno::INVAL, &["text"])?;
    let request = context.variant("zeroes", &[0; 16384])?;
    context.refused(&request, Errno::INVAL, &["zeroes"])?;
    let request = context.variant("empty-file", b"")?;
    context.refused(&request, Errno::INVAL, &["empty-file"])?;

    let request = Request::new(&context.work.join("source")).basedir(&context.image.store);
    match request.at(&context.work.join("mount")) {
        Err(refusal) if matches!(refusal.errno, Errno::INVAL | Errno::ISDIR) => {}
        Err(refusal) => bail!("a directory: {refusal}"),
        Ok(_) => bail!("a directory was mounted"),
    }
    // An EROFS image that is not a composefs image.
    let erofs = context.work.join("erofs");
    let source = context.work.join("source/directory/deeper");
    let (erofs_path, source) = (erofs.to_string_lossy(), source.to_string_lossy());
    run("mkfs.erofs", ["--quiet", &*erofs_path, &*source])?;
    let request = Request::new(&erofs).basedir(&context.image.store);
    context.refused(&request, Errno::INVAL, &["erofs"])
}

fn truncated(context: &mut Context) -> Result<()> {
    let length = context.bytes.len();
    let mut random = Random::new(30);
    let random_lengths = (0..10).map(|_| 4096 + random.below(length as u64 - 4096) as usize);
    for cut in [length - 1, length - 4096, length / 2, 4096]
        .into_iter()
        .chain(random_lengths)
    {
        let request = context.variant("truncated", &context.bytes[..cut])?;
        let refused = context.refused(&request, Errno::UCLEAN, &["truncated"]);
        refused.with_context(|| format!("{cut} of {length} bytes"))?;
    }
    // What is too short for a superblock may as well be no image.
    for cut in [1, 31, 32, 1023, 1024, 1100, 1151] {
        let request = context.variant("truncated", &context.bytes[..cut])?;
        match request.at(&context.work.join("mount")) {
            Err(refusal) if matches!(refusal.errno, Errno::INVAL | Errno::UCLEAN) => {}
            Err(refusal) => bail!("{cut} bytes: {refusal}"),
            Ok(_) => bail!("{cut} bytes were mounted"),
        }
    }
    Ok(())
}

/// Offsets in the EROFS superblock, which is at 1024: see struct erofs_super_block.
fn corrupt(context: &mut Context) -> Result<()> {
    for (name, offset, bytes) in [
        ("root-inode-outside", 1024 + 14, [0xff, 0xff].as_slice()),
        (
            "blocks-beyond-the-end",
            1024 + 36,
            &[0xff, 0xff, 0xff, 0x7f],
        ),
        ("wrong-magic", 1024, &[0]),
    ] {
        let mut content = context.bytes.clone();
        content[offset..offset + bytes.len()].copy_from_slice(bytes);
        let request = context.variant(name, &content)?;
        context.refused(&request, Errno::UCLEAN, &[name])?;
    }
    for (name, offset, bytes) in [
        ("wrong-composefs-magic", 0, [0].as_slice()),
        ("unknown-incompatible-feature", 1024 + 80, &[0, 0, 0, 0x40]),
    ] {
        let mut content = context.bytes.clone();
        content[offset..offset + bytes.len()].copy_from_slice(bytes);
        let request = context.variant(name, &content)?;
        context.refused(&request, Errno::INVAL, &[name])?;
    }
    Ok(())
}

/// Damage anywhere in an image that nobody vouches for: whatever it does, it is finite, and the
/// kernel survives it.
fn damaged_anywhere(context: &mut Context) -> Result<()> {
    let mut random = Random::new(31);
    // Most of an image is zeroes; what is not has a meaning.
    let bytes = context.bytes.iter().enumerate();
    let used: Vec<usize> = bytes.filter(|(_, b)| **b != 0).map(|(i, _)| i).collect();
    let (mut refused, mut mounted) = (0, 0);
    for round in 0..100 {
        let mut content = context.bytes.clone();
        let mut changes = Vec::new();
        for _ in 0..1 + random.below(20) {
            let position = used[random.index(used.len())];
            content[position] ^= random.nonzero_byte();
            changes.push(position);
        }
        let request = context.variant("damaged", &content)?;
        match request.at(&context.work.join("mount")) {
            Ok(mount) => {
                mounted += 1;
                tree::visit(mount.root(), 0, &mut 2000)
                    .with_context(|| format!("round {round}, changed at {changes:?}"))?;
            }
            Err(refusal) => {
                refused += 1;
                ensure!(
                    matches!(refusal.errno, Errno::INVAL | Errno::UCLEAN | Errno::IO),
                    "{refusal}"
                );
            }
        }
    }
    tap::note(format_args!(
        "{refused} refused at mount, {mounted} mounted"
    ));
    Ok(())
}

/// A directory whose entry leads back to it cannot be entered, and what else is in it can be reached.
fn directory_in_itself(context: &mut Context) -> Result<()> {
    let target = context.work.join("mount");
    let number = |mount: &Mount, name: &str| fs::metadata(mount.join(name)).map(|data| data.ino());
    let mount = Request::new(&context.plain)
        .basedir(&context.image.store)
        .at(&target)?;
    let outer = number(&mount, "directory")?.to_le_bytes();
    let inner = number(&mount, "directory/deeper")?.to_le_bytes();
    mount.unmount()?;

    // The one in the directory, and "." of the inner one.
    let mut content = context.bytes.clone();
    let entries: Vec<_> = (1024 + 128..content.len() - 12)
        .filter(|at| content[*at..].starts_with(&inner) && content[at + 10..at + 12] == [2, 0])
        .collect();
    ensure!(entries.len() == 2, "entries at {entries:?}");
    for at in entries {
        content[at..at + 8].copy_from_slice(&outer);
    }
    let mount = context.variant("in-itself", &content)?.at(&target)?;
    let inside = mount.join("directory/deeper");
    for _ in 0..2 {
        let said = of_failure(|| match rustix::fs::lstat(&inside) {
            Err(Errno::UCLEAN) => Ok(()),
            found => bail!("{:?}", found.map(|stat| stat.st_ino)),
        })?;
        ensure!(said.concat().contains("in-itself: inode "), "{said:?}");
    }
    let found = fs::read(mount.join("directory/external-3m"))?;
    ensure!(found == basic_tree::content("directory/external-3m"));
    mount.unmount()
}

/// A list of who may do what that says nothing lets nobody in.
fn malformed_acl(context: &mut Context) -> Result<()> {
    let mut dump = "/ 0 40755 2 0 0 0 0.0 - - -\n".to_owned();
    let values = [
        "x",
        "\\x02\\x00\\x00\\x00x",
        "\\x03\\x00\\x00\\x00\\x01\\x00\\x07\\x00\\xff\\xff\\xff\\xff",
    ];
    for (number, value) in values.iter().enumerate() {
        dump += &format!("/{number} 1 100644 1 1 1 0 0.0 - x - system.posix_acl_access={value}\n");
    }
    let file = context.work.join("acl");
    let text = context.work.join("dump");
    fs::write(&text, dump)?;
    let mkcomposefs = setup::mkcomposefs();
    run(mkcomposefs, [Path::new("--from-file"), &text, &file])?;
    let mount = Request::new(&file)
        .basedir(&context.image.store)
        .at(&context.work.join("mount"))?;
    for (number, value) in values.iter().enumerate() {
        let path = mount.join(number.to_string());
        let read = getxattr(&path, "system.posix_acl_access", &mut [0_u8; 64][..]);
        ensure!(read == Err(Errno::UCLEAN), "{value}: {read:?}");
        let opened = File::open(&path)
            .map(drop)
            .map_err(|error| error.raw_os_error());
        ensure!(
            opened == Err(Some(Errno::UCLEAN.raw_os_error())),
            "{value}: {opened:?}"
        );
    }
    mount.unmount()
}

fn digest_option(context: &mut Context) -> Result<()> {
    let digest = &context.image.digest;
    for value in [
        "",
        "xyz",
        &digest[..63],
        &format!("{digest}0"),
        &digest.replace(|c: char| c.is_ascii_digit(), "g"),
        &format!("sha512:{digest}"),
        &format!("sha256:{digest}{digest}"),
        &format!("md5:{digest}"),
        &format!("sha256{digest}"),
        &format!(" {digest}"),
    ] {
        let request = Request::new(&context.image.file)
            .basedir(&context.image.store)
            .digest(value);
        let refused = context.refused(&request, Errno::INVAL, &["digest"]);
        refused.with_context(|| format!("digest={value}"))?;
    }
    let two = context.image.request().digest(&"0".repeat(64));
    context.refused(&two, Errno::INVAL, &["another digest"])
}

fn image_without_verity(context: &mut Context) -> Result<()> {
    let request = Request::new(&context.plain)
        .basedir(&context.image.store)
        .digest(&context.image.digest);
    context.refused(&request, Errno::BADMSG, &["plain", "fs-verity"])
}

fn wrong_digest(context: &mut Context) -> Result<()> {
    let actual = context.image.digest.as_str();
    let mut wrong = actual.to_owned();
    let last = if wrong.pop() == Some('0') { '1' } else { '0' };
    wrong.push(last);
    let request = |digest: &str| {
        Request::new(&context.image.file)
            .basedir(&context.image.store)
            .digest(digest)
    };
    context.refused(&request(&wrong), Errno::BADMSG, &["image", &wrong, actual])?;
    let zeroes = "0".repeat(128);
    context.refused(
        &request(&zeroes),
        Errno::BADMSG,
        &["image", &zeroes, actual],
    )?;

    // An image that is valid, and vouched for by nobody.
    let mut content = context.bytes.clone();
    let last = content.len() - 1;
    content[last] ^= 1;
    let changed = context.variant("changed", &content)?.digest(actual);
    let found = enable_verity(&context.work.join("changed"))?;
    context.refused(&changed, Errno::BADMSG, &["changed", actual, &found])
}

fn basedir(context: &mut Context) -> Result<()> {
    let request = |path: &str| Request::new(&context.image.file).set("basedir", path);
    let missing = context.work.join("no-such-store");
    let missing = missing.to_string_lossy();
    context.refused(&request(&missing), Errno::NOENT, &["no-such-store"])?;
    let file = context.plain.to_string_lossy();
    context.refused(&request(&file), Errno::NOTDIR, &["plain"])?;
    let store = context.image.store.to_string_lossy();
    let second = format!("{store}:{missing}");
    context.refused(&request(&second), Errno::NOENT, &["no-such-store"])?;
    let repeated = request(&store).set("basedir", &missing);
    context.refused(&repeated, Errno::NOENT, &["no-such-store"])?;
    context.refused(&request(""), Errno::INVAL, &["basedir"])
}

fn writer(context: &mut Context) -> Result<()> {
    let request = Request::new(&context.plain).basedir(&context.image.store);
    let writer = OpenOptions::new().write(true).open(&context.plain)?;
    context.refused(&request, Errno::TXTBSY, &["plain"])?;
    // What is not what it has to be is refused without a look at who writes to it: such a mount
    // keeps nobody from writing.
    let request = request.digest(&context.image.digest);
    context.refused(&request, Errno::BADMSG, &["plain", "fs-verity"])?;
    drop(writer);
    let request = Request::new(&context.plain).basedir(&context.image.store);

    // And the other way round, for as long as the mount lasts.
    let mount = request.at(&context.work.join("mount"))?;
    let error = OpenOptions::new().write(true).open(&context.plain).err();
    let error = error.context("the image of a mount was opened for writing")?;
    ensure!(
        Errno::from_io_error(&error) == Some(Errno::TXTBSY),
        "{error}"
    );
    mount.unmount()?;
    OpenOptions::new()
        .write(true)
        .open(&context.plain)
        .context("after the unmount")?;
    Ok(())
}

fn read_write(context: &mut Context) -> Result<()> {
    let request = context.image.request().flag("rw");
    context.refused(&request, Errno::ROFS, &["rw"])?;
    // Not asking for either gives what there is: a read-only mount.
    let mount = context.image.request().at(&context.work.join("mount"))?;
    ensure!(mount.is_read_only()?, "writable");
    Ok(())
}

fn unknown_options(context: &mut Context) -> Result<()> {
    let request = || context.image.request();
    for (key, value) in [
        ("no-such-option", "1"),
        ("verity", "maybe"),
        ("verity", ""),
        ("verity_check", "3"),
        ("verity_check", "-1"),
        ("verity_check", "on"),
    ] {
        context.refused(&request().set(key, value), Errno::INVAL, &[key])?;
    }
    Ok(())
}

/// The messages reach those who use mount(8), and mount(2) leaves them in the kernel log.
fn reach_the_user(context: &mut Context) -> Result<()> {
    let target = context.work.join("mount");
    let wrong = "0".repeat(64);
    let options = format!(
        "basedir={},digest={wrong}",
        context.image.store.to_string_lossy()
    );
    let mut mount = Command::new("mount");
    mount.args(["-i", "-t", "composefs", "-o", &options]);
    let result = capture(mount.arg(&context.image.file).arg(&target))?;
    let message = String::from_utf8_lossy(&result.stderr);
    ensure!(!result.status.success(), "mount(8) succeeded");
    for word in ["composefs: ", &wrong, &context.image.digest] {
        ensure!(message.contains(word), "\"{word}\" is not in \"{message}\"");
    }

    let mut log = KernelLog::follow()?;
    let data = std::ffi::CString::new(options)?;
    let flags = MountFlags::empty();
    let image = &context.image.file;
    let result = rustix::mount::mount(image, &target, "composefs", flags, data.as_c_str());
    ensure!(result == Err(Errno::BADMSG), "mount(2): {result:?}");
    let messages = log.read_composefs()?;
    let [message] = messages.as_slice() else {
        bail!("not exactly one message in the kernel log: {messages:?}");
    };
    for word in [wrong.as_str(), &context.image.digest] {
        ensure!(message.contains(word), "\"{word}\" is not in \"{message}\"");
    }
    Ok(())
}

fn still_mounts(context: &mut Context) -> Result<()> {
    let mount = context.image.request().at(&context.work.join("mount"))?;
    ensure!(tree::read(mount.root())?.len() > 10, "an empty tree");
    Ok(())
}

const CASES: &[Case<Context>] = &[
    ("no image", no_image),
    ("not an image", not_an_image),
    ("a truncated image", truncated),
    ("a corrupt superblock", corrupt),
    ("an image damaged anywhere does no harm", damaged_anywhere),
    ("a directory that is in itself", directory_in_itself),
    ("a malformed access control list", malformed_acl),
    ("a malformed digest option", digest_option),
    (
        "a digest for an image without fs-verity",
        image_without_verity,
    ),
    ("the wrong digest", wrong_digest),
    ("a basedir that is not there or no directory", basedir),
    ("an image that is open for writing", writer),
    ("rw", read_write),
    ("options and values that do not exist", unknown_options),
    ("messages reach mount(8) and the kernel log", reach_the_user),
    ("after all that, the image mounts", still_mounts),
];

fn main() -> ExitCode {
    tap::run(set_up, CASES)
}
