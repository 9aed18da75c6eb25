// SPDX-License-Identifier: GPL-2.0-only
//! Damaged images, mounted and looked at from all sides: whatever is in them, the kernel answers,
//! with an error or not, and soon; and keeps nothing when they are gone.
//!
//! usage: `fuzz_images FIRST COUNT`: the images with these numbers, the same each time; and those
//! that the parser's fuzzers kept.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{ensure, Context as _, Result};
use composefs_fuzz::mutate;
use composefs_fuzz::random::Random;
use composefs_selftests::command;
use composefs_selftests::handle_server::Handles;
use composefs_selftests::image::{build, build_composefs_rs};
use composefs_selftests::memory;
use composefs_selftests::mount::Request;
use composefs_selftests::setup;
use composefs_selftests::small_tree;
use composefs_selftests::tap::{self, note, Case};
use composefs_selftests::verity::Algorithm;
use rustix::fs::{
    fstat, lgetxattr, llistxattr, lstat, openat, readlinkat, seek, statfs, Dir, FileType, Mode,
    OFlags, SeekFrom, CWD,
};
use rustix::io::{pread, Errno};
use rustix::time::{clock_gettime, ClockId};

/// The most that looking at one image may take of a processor, in seconds: a hang, else.
const LIMIT: i64 = 5;

/// The most names of one image that are looked at, and the most that a directory can be thought to
/// have: more would be a readdir without end.
const MOST_NAMES: usize = 400;
const ENDLESS: usize = 20_000;

/// A name that readdir gives and lookup does not find, or one too long to look up.
const LOOKUP: &[Errno] = &[Errno::NOENT, Errno::NAMETOOLONG];
/// An object that is not there, or not the right one.
const OPEN: &[Errno] = &[Errno::IO, Errno::NOENT, Errno::NAMETOOLONG];
/// Where symlinks lead to, the mount's or others.
const FOLLOW: &[Errno] = &[
    Errno::NOENT,
    Errno::NOTDIR,
    Errno::LOOP,
    Errno::NAMETOOLONG,
    Errno::ACCESS,
];
const LIST: &[Errno] = &[Errno::RANGE, Errno::NOENT, Errno::NAMETOOLONG];
const GET: &[Errno] = &[
    Errno::NODATA,
    Errno::RANGE,
    Errno::TOOBIG,
    Errno::OPNOTSUPP,
    Errno::NOENT,
    Errno::NAMETOOLONG,
];
/// Past the end.
const SEEK: &[Errno] = &[Errno::NXIO];

struct Context {
    first: u64,
    count: u64,
    /// Damaged images go here in turn: they are read in different ways.
    places: [PathBuf; 2],
    target: PathBuf,
    /// Sound images, and where their objects are.
    images: Vec<(Vec<u8>, PathBuf)>,
    handles: Handles,
}

fn set_up() -> Result<Context> {
    let arguments: Vec<_> = std::env::args().collect();
    let number = |at: usize, missing| match arguments.get(at) {
        Some(text) => text.parse().with_context(|| text.clone()),
        None => Ok(missing),
    };
    setup::require_driver()?;
    setup::load_module()?;
    let work = setup::work_directory("fuzz")?;
    let source = work.join("source");
    small_tree::create(&source)?;
    // So that numbers stand for the same images tomorrow.
    let touch = "-exec touch --no-dereference --date=@0 {} +".split(' ');
    command::output(Command::new("find").arg(&source).args(touch))?;
    let ours = |name: &str, options: &[&str]| {
        build(&setup::mkcomposefs(), &source, &work.join(name), options)
    };
    let theirs = work.join("v2");
    let mut images = Vec::new();
    for image in [
        ours("v0", &["--min-version=0", "--max-version=0"])?,
        ours("v1", &["--min-version=1"])?,
        build_composefs_rs(Algorithm::Sha512, "2", &source, &theirs)?,
    ] {
        images.push((fs::read(&image.file)?, image.store));
    }
    Ok(Context {
        first: number(1, 0)?,
        count: number(2, 1000)?,
        places: [work.join("image"), PathBuf::from("/dev/shm/image")],
        target: work.join("mount"),
        images,
        handles: Handles::start()?,
    })
}

/// What came of the images.
#[derive(Default)]
struct Results {
    images: usize,
    refused: BTreeMap<String, usize>,
    mounted: usize,
    calls: usize,
    damage_met: usize,
    /// Errors that are neither of damage nor of what was asked for.
    errors: BTreeMap<(&'static str, String), usize>,
    handles: usize,
    slowest: (i64, u64),
}

impl Results {
    /// Counts the result of a call; gives the value if there is one. Damage may show as an error
    /// of `expected`, too.
    fn call<T>(
        &mut self,
        name: &'static str,
        expected: &[Errno],
        result: rustix::io::Result<T>,
    ) -> Option<T> {
        self.calls += 1;
        let errno = match result {
            Ok(value) => return Some(value),
            Err(errno) => errno,
        };
        if errno == Errno::UCLEAN {
            self.damage_met += 1;
        } else if !expected.contains(&errno) {
            *self.errors.entry((name, errno.to_string())).or_default() += 1;
        }
        None
    }

    /// Says what they are, and complains about what should not be.
    fn conclude(&self, least_mounted: u64) -> Result<()> {
        note(format_args!(
            "{} images: refused {:?}, mounted {}; {} calls on them, of which {} met damage, and \
             {} file handles; the longest took {} microseconds of a processor (image {})",
            self.images,
            self.refused,
            self.mounted,
            self.calls,
            self.damage_met,
            self.handles,
            self.slowest.0,
            self.slowest.1
        ));
        ensure!(self.mounted as u64 >= least_mounted, "few mounted");
        ensure!(self.errors.is_empty(), "errors: {:?}", self.errors);
        Ok(())
    }
}

fn look_at_mutations(context: &mut Context) -> Result<()> {
    let mut results = Results::default();
    for number in context.first..context.first + context.count {
        let (image, store) = &context.images[number as usize % context.images.len()];
        let (mut image, store) = (image.clone(), store.clone());
        mutate::image(&mut image, &mut Random::new(number));
        let damaged = Damaged {
            number,
            image: &image,
            store: &store,
        };
        timed(context, &damaged, &mut results).with_context(|| format!("image {number}"))?;
        if number % 1000 == 999 {
            note(format_args!("{} images", number + 1 - context.first));
        }
    }
    results.conclude(context.count / 4)?;
    // Else the damage was such that nothing was tried.
    ensure!(results.damage_met > 0, "no damage met");
    Ok(())
}

/// Inputs that led the parser to a place where no other had led it.
fn look_at_corpus(context: &mut Context) -> Result<()> {
    let mut results = Results::default();
    let store = context.images[0].1.clone();
    for target in ["open", "walk", "lookup", "xattr", "model"] {
        let corpus = setup::payload().join("corpus").join(target);
        let mut files: Vec<_> = fs::read_dir(&corpus)
            .with_context(|| corpus.display().to_string())?
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<Result<_, _>>()?;
        files.sort();
        for (number, file) in files.iter().enumerate() {
            let damaged = Damaged {
                number: number as u64,
                image: &fs::read(file)?,
                store: &store,
            };
            timed(context, &damaged, &mut results).with_context(|| file.display().to_string())?;
        }
    }
    results.conclude(1)
}

/// An image, and how it is looked at: its number decides on the details.
struct Damaged<'a> {
    number: u64,
    image: &'a [u8],
    store: &'a Path,
}

/// Looks at an image, which must not take long.
fn timed(context: &mut Context, damaged: &Damaged, results: &mut Results) -> Result<()> {
    let before = processor_time();
    look_at(context, damaged, results)?;
    let time = processor_time() - before;
    results.slowest = results.slowest.max((time, damaged.number));
    ensure!(time < LIMIT * 1_000_000, "took {time} microseconds");
    Ok(())
}

/// What this process and the kernel on its behalf have used, in microseconds.
fn processor_time() -> i64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec * 1_000_000 + time.tv_nsec / 1000
}

fn look_at(context: &mut Context, damaged: &Damaged, results: &mut Results) -> Result<()> {
    let Damaged {
        number,
        image,
        store,
    } = *damaged;
    results.images += 1;
    let place = &context.places[number as usize / 3 % context.places.len()];
    fs::write(place, image)?;

    let level = ["off", "on", "require"][number as usize / 6 % 3];
    let request = Request::new(place).basedir(store).set("verity", level);
    let mount = match request.at(&context.target) {
        Ok(mount) => mount,
        Err(refusal) => {
            let errno = refusal.errno;
            ensure!(matches!(errno, Errno::UCLEAN | Errno::INVAL), "{refusal}");
            ensure!(refusal.message().is_some(), "no message: {refusal}");
            *results.refused.entry(errno.to_string()).or_default() += 1;
            return Ok(());
        }
    };
    results.mounted += 1;
    let _ = results.call("statfs", &[], statfs(mount.root()));
    let mut walk = Walk {
        names: 0,
        results: &mut *results,
    };
    walk.directory(mount.root(), 0)?;
    results.handles += context.handles.try_all(mount.root(), number)?;
    mount.unmount()
}

struct Walk<'a> {
    names: usize,
    results: &'a mut Results,
}

impl Walk<'_> {
    fn directory(&mut self, path: &Path, depth: usize) -> Result<()> {
        self.object(path);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let opened = openat(CWD, path, flags, Mode::empty());
        let Some(fd) = self.results.call("open", OPEN, opened) else {
            return Ok(());
        };
        let Some(mut dir) = self.results.call("opendir", &[], Dir::new(fd)) else {
            return Ok(());
        };
        let mut names = Vec::new();
        let mut count = 0;
        while let Some(entry) = dir.read() {
            match self.results.call("readdir", &[], entry) {
                Some(entry) => names.push(entry.file_name().to_owned()),
                None => break,
            }
            count += 1;
            ensure!(count < ENDLESS, "{} has no end", path.display());
        }
        for name in names {
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            self.names += 1;
            if self.names > MOST_NAMES {
                break;
            }
            let path = path.join(std::ffi::OsStr::from_bytes(name.to_bytes()));
            let Some(stat) = self.results.call("lstat", LOOKUP, lstat(&path)) else {
                continue;
            };
            match FileType::from_raw_mode(stat.st_mode) {
                FileType::Directory if depth < 6 => self.directory(&path, depth + 1)?,
                FileType::Symlink => {
                    self.object(&path);
                    let _ = self.results.call(
                        "readlink",
                        &[Errno::NAMETOOLONG],
                        readlinkat(CWD, &path, Vec::new()),
                    );
                    // Through it, too.
                    let _ = self.results.call("stat", FOLLOW, rustix::fs::stat(&path));
                }
                FileType::RegularFile => {
                    self.object(&path);
                    self.file(&path);
                }
                _ => self.object(&path),
            }
        }
        Ok(())
    }

    /// What every kind of object has: extended attributes, to begin with.
    fn object(&mut self, path: &Path) {
        let mut list = [0; 4096];
        let listed = llistxattr(path, &mut list[..]);
        let _ = self
            .results
            .call("listxattr", LOOKUP, llistxattr(path, &mut [0_u8; 0][..]));
        if let Some(length) = self.results.call("listxattr", LIST, listed) {
            for name in list[..length].split(|byte| *byte == 0) {
                // A prefix with nothing after it cannot be asked for.
                if name.ends_with(b".") {
                    continue;
                }
                let mut value = [0; 4096];
                let read = lgetxattr(path, name, &mut value[..]);
                // The kernel reads capabilities itself, on every filesystem.
                if name == b"security.capability" && read == Err(Errno::INVAL) {
                    continue;
                }
                let _ = self.results.call("getxattr", GET, read);
            }
        }
        for name in ["user.none", "system.posix_acl_access", "trusted.overlay.x"] {
            let _ = self
                .results
                .call("getxattr", GET, lgetxattr(path, name, &mut [0_u8; 64][..]));
        }
    }

    fn file(&mut self, path: &Path) {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let opened = openat(CWD, path, flags, Mode::empty());
        let Some(fd) = self.results.call("open", OPEN, opened) else {
            return;
        };
        let size = self
            .results
            .call("fstat", &[], fstat(&fd))
            .map_or(0, |s| s.st_size);
        let mut buffer = vec![0; 65536];
        for at in [0, 4095, size / 2, size - 1, size, i64::MAX - 65536] {
            let at = at.clamp(0, i64::MAX - 65536) as u64;
            let _ = self
                .results
                .call("read", &[], pread(&fd, &mut buffer[..], at));
        }
        let _ = self
            .results
            .call("seek", SEEK, seek(&fd, SeekFrom::Hole(0)));
        let _ = self
            .results
            .call("seek", SEEK, seek(&fd, SeekFrom::Data(0)));
    }
}

fn nothing_left(_: &mut Context) -> Result<()> {
    memory::no_inodes()
}

fn no_leak(_: &mut Context) -> Result<()> {
    memory::expect_no_leak()
}

const CASES: &[Case<Context>] = &[
    ("damaged images give answers", look_at_mutations),
    (
        "what the parser's fuzzers kept gives answers",
        look_at_corpus,
    ),
    ("no inode is left", nothing_left),
    ("no memory is lost", no_leak),
];

fn main() -> ExitCode {
    tap::run(set_up, CASES)
}
