// SPDX-License-Identifier: GPL-2.0-only
//! Damaged images, mounted and looked at from all sides: whatever is in them, the kernel answers,
//! with an error or not, and soon; and keeps nothing when they are gone.
//!
//! usage: `fuzz_images FIRST COUNT`: the images with these numbers, the same each time; and those
//! that the parser's fuzzers kept.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitCode, Stdio};

use anyhow::{ensure, Context as _, Result};
use composefs_fuzz::mutate;
use composefs_fuzz::random::Random;
use composefs_selftests::command;
use composefs_selftests::image::{build, build_composefs_rs};
use composefs_selftests::memory;
use composefs_selftests::mount::Request;
use composefs_selftests::setup;
use composefs_selftests::tap::{self, note, Case};
use composefs_selftests::verity::Algorithm;
use rustix::fs::{
    fstat, lgetxattr, llistxattr, lstat, openat, readlinkat, seek, statfs, Dir, FileType, Mode,
    OFlags, SeekFrom, XattrFlags, CWD,
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
    tree(&source)?;
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

/// Something of everything that an image can hold, and little of it: an image of few blocks is
/// damaged more by one change.
fn tree(root: &Path) -> Result<()> {
    let mut random = Random::new(60);
    setup::create_dir(&root.join("directory/within/it"))?;
    setup::create_dir(&root.join("empty"))?;
    for number in 0..6 {
        let file = root.join(format!("directory/inline-{number}"));
        fs::write(&file, random.bytes(number * 12))?;
        let set = |name: &str, value: &[u8]| {
            rustix::fs::lsetxattr(&file, name, value, XattrFlags::empty())
        };
        set("user.shared", b"by several")?;
        set("user.own", format!("{number}").as_bytes())?;
        set("trusted.overlay.opaque", b"y")?;
        if number == 5 {
            set("user.large", &random.bytes(3000))?;
            set("security.selinux", b"system_u:object_r:etc_t:s0\0")?;
        }
    }
    for number in 0..4 {
        fs::write(
            root.join(format!("external-{number}")),
            random.bytes(5000 + number),
        )?;
    }
    let acl: &[u8] = b"\x02\0\0\0\x01\0\x06\0\xff\xff\xff\xff\x02\0\x04\0\xe8\x03\0\0\
        \x04\0\x04\0\xff\xff\xff\xff\x10\0\x04\0\xff\xff\xff\xff\x20\0\x04\0\xff\xff\xff\xff";
    for (name, attribute) in [
        ("external-1", "system.posix_acl_access"),
        ("empty", "system.posix_acl_default"),
    ] {
        rustix::fs::lsetxattr(root.join(name), attribute, acl, XattrFlags::empty())?;
    }
    for length in [1, 60, 700] {
        let target: String = "../t".chars().cycle().take(length).collect();
        symlink(target, root.join(format!("directory/link-{length}")))?;
    }
    // More than one block of entries.
    let many = root.join("many");
    setup::create_dir(&many)?;
    for number in 0..60 {
        let name = format!("{number}-{}", "name".repeat(15));
        symlink("same", many.join(name))?;
    }
    rustix::fs::mknodat(
        CWD,
        root.join("directory/fifo"),
        FileType::Fifo,
        Mode::RUSR,
        0,
    )?;
    let device = rustix::fs::makedev(1, 3);
    let mode = Mode::RUSR;
    rustix::fs::mknodat(
        CWD,
        root.join("null"),
        FileType::CharacterDevice,
        mode,
        device,
    )?;
    fs::hard_link(root.join("external-0"), root.join("directory/hard-link"))?;
    Ok(())
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

/// File handles of a mounted image: made and opened, and made up. Python has the system calls; one
/// process serves all images.
struct Handles {
    python: Child,
    answers: BufReader<ChildStdout>,
}

const HANDLES: &str = r#"
import ctypes, os, random, sys
libc = ctypes.CDLL(None, use_errno=True)
class Handle(ctypes.Structure):
    _fields_ = [("bytes", ctypes.c_uint), ("type", ctypes.c_int), ("data", ctypes.c_ubyte * 128)]
def open_handle(mount, handle):
    fd = libc.open_by_handle_at(mount, ctypes.byref(handle), os.O_PATH)
    if fd >= 0:
        try:
            os.fstat(fd)
            os.readlink("/proc/self/fd/%d" % fd)
        except OSError:
            pass
        os.close(fd)
for line in sys.stdin:
    seed, root = line.rstrip("\n").split(" ", 1)
    chance = random.Random(int(seed))
    fd = os.open(root, os.O_RDONLY)
    try:
        names = os.listdir(root)[:12]
    except OSError:
        names = []
    count = 0
    for name in ["."] + names:
        handle, number = Handle(bytes=128), ctypes.c_int()
        path = os.fsencode(os.path.join(root, name))
        if libc.name_to_handle_at(-100, path, ctypes.byref(handle), ctypes.byref(number), 0) == 0:
            count += 1
            open_handle(fd, handle)
            # Connected to a parent, as an NFS server asks for it.
            handle.type = 0x82
            handle.data[12:24] = bytes(handle.data[:12])
            handle.bytes = 24
            open_handle(fd, handle)
    for _ in range(12):
        number = chance.choice([chance.getrandbits(8), chance.getrandbits(12), chance.getrandbits(64)])
        data = (number >> 32).to_bytes(4, "little") + (number & 0xffffffff).to_bytes(4, "little") + bytes(4)
        handle = Handle(bytes=12, type=0x81)
        ctypes.memmove(handle.data, data, 12)
        open_handle(fd, handle)
    os.close(fd)
    print(count, flush=True)
"#;

impl Handles {
    fn start() -> Result<Self> {
        let mut python = Command::new("python3")
            .args(["-I", "-c", HANDLES])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("python3")?;
        let answers = BufReader::new(python.stdout.take().context("python3")?);
        Ok(Self { python, answers })
    }

    /// Returns for how many names there is a handle.
    fn try_all(&mut self, root: &Path, seed: u64) -> Result<usize> {
        let requests = self.python.stdin.as_mut().context("python3")?;
        writeln!(requests, "{seed} {}", root.display())?;
        let mut answer = String::new();
        self.answers.read_line(&mut answer)?;
        answer.trim().parse().context("file handles")
    }
}

impl Drop for Handles {
    fn drop(&mut self) {
        drop(self.python.stdin.take());
        let _ = self.python.wait();
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
