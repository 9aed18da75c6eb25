// SPDX-License-Identifier: GPL-2.0-only
//! 200 changes of single bytes of an image that is mounted with its digest, and 200 of objects:
//! on the disk below the filesystem, or by putting a changed file in the place of the right one.
//! Each of them must be refused or without consequence; none is ever served.
#![forbid(unsafe_code)]

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{ensure, Context as _, Result};
use composefs_fuzz::random::Random;
use composefs_selftests::compare::audit;
use composefs_selftests::disk::{on_the_disk, Disk};
use composefs_selftests::image::{build, enable_verity, replace};
use composefs_selftests::mount::Request;
use composefs_selftests::setup;
use composefs_selftests::tap::{self, note, Case};
use composefs_selftests::tree::{self, Tree};
use rustix::fs::{lsetxattr, XattrFlags};
use rustix::io::Errno;

const CHANGES: usize = 200;

/// What is done to the file with this number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// A byte of its content is changed on the disk.
    Content,
    /// A byte of what fs-verity keeps behind the content is changed on the disk.
    Verity,
    /// A changed copy without fs-verity takes its place.
    Plain,
    /// A changed copy with fs-verity takes its place.
    Sealed,
}

fn kind(number: usize) -> Kind {
    match number % 10 {
        0..=5 => Kind::Content,
        6 | 7 => Kind::Verity,
        8 => Kind::Plain,
        _ => Kind::Sealed,
    }
}

struct Context {
    work: PathBuf,
}

fn set_up() -> Result<Context> {
    setup::load_module()?;
    Ok(Context {
        work: setup::work_directory("tamper")?,
    })
}

/// Changes one byte of a file of `length` bytes in the way of `kind`. What happens on the disk is
/// noted in `on_disk`, to be done later for all files at once.
fn change(
    disk: &Disk,
    file: &Path,
    kind: Kind,
    random: &mut Random,
    on_disk: &mut Vec<(u64, u8)>,
) -> Result<()> {
    let mut content = fs::read(file)?;
    let length = content.len() as u64;
    let mask = random.nonzero_byte();
    match kind {
        Kind::Content => {
            let position = random.below(length);
            on_disk.push((on_the_disk(&disk.extents(file)?, position)?, mask));
        }
        Kind::Verity => {
            // The blocks behind the end of the content: Merkle tree, descriptor, and its size,
            // which is in the last 4 bytes.
            let extents = disk.extents(file)?;
            let start = length.next_multiple_of(4096);
            let behind: Vec<_> = extents.iter().filter(|e| e.logical >= start).collect();
            let extent = behind
                .get(random.index(behind.len().max(1)))
                .with_context(|| format!("nothing behind {length} bytes: {extents:?}"))?;
            // Where there is something: the first hashes or fields, or the last bytes.
            let within = match random.below(8) {
                0 => extent.length - 1 - random.below(4),
                _ => random.below(96.min(extent.length)),
            };
            on_disk.push((extent.physical + within, mask));
        }
        Kind::Plain | Kind::Sealed => {
            content[random.below(length) as usize] ^= mask;
            replace(file, &content)?;
            if kind == Kind::Sealed {
                enable_verity(file)?;
            }
        }
    }
    Ok(())
}

/// A tree whose image has something of everything, and little of it.
fn small_tree(root: &Path) -> Result<()> {
    setup::create_dir(root)?;
    let mut random = Random::new(40);
    for number in 0..36 {
        let directory = root.join(format!("directory-{}", number % 7));
        setup::create_dir(&directory)?;
        let file = directory.join(format!("file-{number}"));
        fs::write(&file, random.bytes(number))?;
        lsetxattr(
            &file,
            "user.number",
            format!("{number}").as_bytes(),
            XattrFlags::empty(),
        )?;
        lsetxattr(
            &file,
            "user.same",
            b"the same everywhere",
            XattrFlags::empty(),
        )?;
        let link = directory.join(format!("link-{number}"));
        let target: String = "0123456789/".chars().cycle().take(number * 9 + 1).collect();
        std::os::unix::fs::symlink(target, link)?;
    }
    for number in 0..120 {
        let name = format!("name-{number}-{:x}", random.number());
        fs::write(root.join("directory-0").join(name), "")?;
    }
    for number in 0..5 {
        fs::write(
            root.join(format!("external-{number}")),
            random.bytes(3000 + number),
        )?;
    }
    Ok(())
}

fn images(context: &mut Context) -> Result<()> {
    let mut disk = Disk::create(&context.work, 256 << 20)?;
    let source = context.work.join("source");
    small_tree(&source)?;
    let expected = tree::read(&source)?;
    let image = build(&setup::mkcomposefs(), &source, &context.work, &[])?;
    let content = fs::read(&image.file)?;
    note(format_args!(
        "{} entries, {} bytes",
        expected.len(),
        content.len()
    ));

    let mut random = Random::new(41);
    let mut on_disk = Vec::new();
    let file = |disk: &Disk, number: usize| disk.root().join(format!("image-{number}"));
    for number in 0..CHANGES {
        let file = file(&disk, number);
        fs::write(&file, &content)?;
        enable_verity(&file)?;
        change(&disk, &file, kind(number), &mut random, &mut on_disk)?;
    }
    disk.tamper(&on_disk)?;

    let mut results = Results::default();
    for number in 0..CHANGES {
        let file = file(&disk, number);
        let request = Request::new(&file)
            .basedir(&image.store)
            .digest(&image.digest);
        let result = try_image(&request, &context.work.join("mount"), &expected)
            .with_context(|| format!("image {number}, {:?}", kind(number)))?;
        // The change is really there: where the content was changed, it cannot be read whole.
        let unreadable = fs::read(&file).is_err();
        ensure!(
            unreadable || kind(number) != Kind::Content,
            "image {number} was not changed"
        );
        // What is not even sealed is never mounted.
        if matches!(kind(number), Kind::Plain | Kind::Sealed) {
            ensure!(result == Outcome::Refused, "image {number} was mounted");
        }
        results.count(result);
    }
    results.report("images")
}

fn try_image(request: &Request, target: &Path, expected: &Tree) -> Result<Outcome> {
    let mount = match request.at(target) {
        Ok(mount) => mount,
        Err(refusal) => {
            let errno = refusal.errno;
            let is_refusal = matches!(errno, Errno::BADMSG | Errno::IO | Errno::UCLEAN);
            ensure!(is_refusal, "{refusal}");
            return Ok(Outcome::Refused);
        }
    };
    let audit = audit(expected, mount.root());
    ensure!(audit.wrong.is_empty(), "served: {:?}", audit.wrong);
    Ok(match audit.refused {
        0 => Outcome::NoConsequence,
        _ => Outcome::Noticed,
    })
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// Not mounted, or the file not opened.
    Refused,
    /// Some of it is right, the rest cannot be read.
    Noticed,
    /// All of it is right: the changed byte has no meaning, or is not read.
    NoConsequence,
}

#[derive(Default)]
struct Results {
    refused: usize,
    noticed: usize,
    without_consequence: usize,
}

impl Results {
    fn count(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Refused => self.refused += 1,
            Outcome::Noticed => self.noticed += 1,
            Outcome::NoConsequence => self.without_consequence += 1,
        }
    }

    fn report(&self, what: &str) -> Result<()> {
        note(format_args!(
            "{what}: {} refused, {} noticed when read, {} without consequence, 0 served",
            self.refused, self.noticed, self.without_consequence
        ));
        let total = self.refused + self.noticed + self.without_consequence;
        ensure!(total == CHANGES, "only {total} changes were tried");
        // Else the changes were too harmless to prove anything.
        ensure!(
            self.refused + self.noticed >= CHANGES / 2,
            "most changes had no consequence"
        );
        Ok(())
    }
}

fn objects(context: &mut Context) -> Result<()> {
    let mut disk = Disk::create(&context.work, 256 << 20)?;
    let source = context.work.join("objects-source");
    setup::create_dir(&source)?;
    let mut random = Random::new(42);
    let mut contents = Vec::new();
    for number in 0..CHANGES {
        let length = 65 + random.below(20_000) as usize;
        let content = random.bytes(length);
        fs::write(source.join(number.to_string()), &content)?;
        contents.push(content);
    }
    let directory = disk.root().join("objects");
    let image = build(&setup::mkcomposefs(), &source, &directory, &[])?;
    let mut on_disk = Vec::new();
    for (number, content) in contents.iter().enumerate() {
        let file = image.object(content);
        change(&disk, &file, kind(number), &mut random, &mut on_disk)?;
    }
    disk.tamper(&on_disk)?;

    let mut results = Results::default();
    let mount = image.request().at(&context.work.join("mount"))?;
    for (number, content) in contents.iter().enumerate() {
        let result = try_file(&mount.join(number.to_string()), content)
            .with_context(|| format!("object {number}, {:?}", kind(number)))?;
        match kind(number) {
            Kind::Content => ensure!(result == Outcome::Noticed, "object {number}: {result:?}"),
            Kind::Plain | Kind::Sealed => {
                ensure!(result == Outcome::Refused, "object {number}: {result:?}");
            }
            Kind::Verity => {}
        }
        results.count(result);
    }
    results.report("objects")
}

/// Reads a file page by page: what can be read at all must be right.
fn try_file(path: &Path, content: &[u8]) -> Result<Outcome> {
    let is_refusal = |error: &std::io::Error| {
        matches!(
            Errno::from_io_error(error),
            Some(Errno::IO | Errno::BADMSG | Errno::UCLEAN)
        )
    };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if is_refusal(&error) => return Ok(Outcome::Refused),
        Err(error) => return Err(error).context("open"),
    };
    let mut outcome = Outcome::NoConsequence;
    for (index, page) in content.chunks(4096).enumerate() {
        let mut read = vec![0; page.len()];
        match file.read_at(&mut read, index as u64 * 4096) {
            Ok(length) => ensure!(
                length == page.len() && read == page,
                "page {index}: served {length} bytes"
            ),
            Err(error) if is_refusal(&error) => outcome = Outcome::Noticed,
            Err(error) => return Err(error).context("read"),
        }
    }
    Ok(outcome)
}

/// The instrument itself: a byte that is changed on the disk does reach a reader where nothing
/// verifies it.
fn changes_reach_the_disk(context: &mut Context) -> Result<()> {
    let mut disk = Disk::create(&context.work, 64 << 20)?;
    let content = Random::new(43).bytes(10_000);
    let file = disk.root().join("plain");
    fs::write(&file, &content)?;
    let position = on_the_disk(&disk.extents(&file)?, 5000)?;
    disk.tamper(&[(position, 0xff)])?;
    let mut expected = content;
    expected[5000] ^= 0xff;
    ensure!(fs::read(&file)? == expected, "the change did not arrive");
    Ok(())
}

const CASES: &[Case<Context>] = &[
    (
        "a changed byte on the disk reaches readers of plain files",
        changes_reach_the_disk,
    ),
    ("200 changes of an image below a digest", images),
    ("200 changes of objects", objects),
];

fn main() -> ExitCode {
    tap::run(set_up, CASES)
}
