// SPDX-License-Identifier: GPL-2.0-only
//! What else can be done with an open file than to read it: on files in the store and on files in
//! the image alike.
#![forbid(unsafe_code)]

use std::fs::{self, File};
use std::io::{IoSliceMut, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{bail, ensure, Context as _, Result};
use composefs_selftests::basic_tree;
use composefs_selftests::command::run;
use composefs_selftests::image::{build, Image};
use composefs_selftests::mount::{Mount, Request};
use composefs_selftests::python;
use composefs_selftests::setup;
use composefs_selftests::tap::{self, Case};
use composefs_selftests::verity::{hex_digest, Algorithm};
use rustix::fs::{copy_file_range, ioctl_getflags, sendfile, statx, AtFlags, StatxFlags};
use rustix::io::{preadv2, Errno, ReadWriteFlags};
use rustix::mount::{mount, MountFlags};
use rustix::pipe::{pipe, splice, tee, SpliceFlags};

/// One file in the store, large and small, and two in the image.
const FILES: [&str; 4] = ["external-1m", "external-4097", "inline-64", "empty"];

struct Context {
    work: PathBuf,
    image: Image,
    mount: Mount,
}

fn set_up() -> Result<Context> {
    setup::require_driver()?;
    setup::load_module()?;
    let work = setup::work_directory("files")?;
    let source = work.join("source");
    basic_tree::create(&source)?;
    // Data between two holes, in whole blocks.
    let mut sparse = vec![0; SPARSE];
    sparse[ISLAND..ISLAND + 4096].fill(b'i');
    fs::write(source.join("sparse"), &sparse)?;
    let image = build(&setup::mkcomposefs(), &source, &work, &[])?;
    let mount = image.request().at(&work.join("mount"))?;
    setup::drop_caches()?;
    Ok(Context { work, image, mount })
}

const SPARSE: usize = 1 << 20;
const ISLAND: usize = 512 * 1024;

fn each(context: &Context, test: impl Fn(&Path, &[u8]) -> Result<()>) -> Result<()> {
    basic_tree::each(context.mount.root(), &FILES, test)
}

fn each_script(context: &Context, script: &str) -> Result<()> {
    basic_tree::each_script(context.mount.root(), &FILES, script)
}

/// Cached data is read without waiting; whatever comes without it is right.
fn no_wait(context: &mut Context) -> Result<()> {
    each(context, |path, content| {
        let file = File::open(path)?;
        let mut cold = vec![0; content.len()];
        match preadv2(
            &file,
            &mut [IoSliceMut::new(&mut cold)],
            0,
            ReadWriteFlags::NOWAIT,
        ) {
            Ok(length) => ensure!(cold.get(..length) == content.get(..length), "cold read"),
            Err(Errno::AGAIN) => {}
            Err(errno) => bail!("cold: {errno}"),
        }
        ensure!(fs::read(path)? == content, "content differs");
        let mut warm = vec![0; content.len() + 1];
        let length = preadv2(
            &file,
            &mut [IoSliceMut::new(&mut warm)],
            0,
            ReadWriteFlags::NOWAIT,
        )
        .context("warm")?;
        ensure!(
            warm.get(..length) == Some(content),
            "{length} bytes of {} without waiting",
            content.len()
        );
        Ok(())
    })
}

const MAP: &str = r#"
path, size = argument[0], int(argument[1])
if size == 0:
    sys.exit()
content = open(path, "rb").read()
os.posix_fadvise(os.open(path, os.O_RDONLY), 0, 0, os.POSIX_FADV_DONTNEED)
fd = os.open(path, os.O_RDONLY)
page = 4096
pages = (size + page - 1) // page * page
PROT_READ, PROT_WRITE, PROT_EXEC = 1, 2, 4
MAP_SHARED, MAP_PRIVATE, MAP_POPULATE, MREMAP_MAYMOVE = 1, 2, 0x8000, 1
pointer, word = ctypes.c_void_p, ctypes.c_size_t

def map(length, protection, flags):
    return call("mmap", pointer(0), word(length), protection, flags, fd, ctypes.c_long(0), result=pointer)

# Shared and read-only; the first page, and then, moved and grown, all of it.
at = map(page, PROT_READ, MAP_SHARED)
first = min(size, page)
assert ctypes.string_at(at, first) == content[:first]
at = call("mremap", pointer(at), word(page), word(pages), MREMAP_MAYMOVE, result=pointer)
assert ctypes.string_at(at, size) == content
assert not any(ctypes.string_at(at + size, pages - size)), "bytes behind the end"
call("mlock", pointer(at), word(pages))
locked = [l for l in open("/proc/self/status") if l.startswith("VmLck")][0].split()[1]
assert int(locked) * 1024 >= pages, locked
resident = (ctypes.c_ubyte * (pages // page))()
call("mincore", pointer(at), word(pages), resident)
assert all(byte & 1 for byte in resident)
call("munlock", pointer(at), word(pages))
for advice in (1, 2, 3, 4, 22):  # RANDOM SEQUENTIAL WILLNEED DONTNEED POPULATE_READ
    call("madvise", pointer(at), word(pages), advice)
assert ctypes.string_at(at, size) == content
fails(errno.EACCES, call, "mprotect", pointer(at), word(pages), PROT_READ | PROT_WRITE)
fails(errno.EACCES, map, pages, PROT_READ | PROT_WRITE, MAP_SHARED)
call("mprotect", pointer(at), word(pages), PROT_READ | PROT_EXEC)
call("msync", pointer(at), word(pages), 4)
lines = [line for line in open("/proc/self/maps") if path in line]
assert lines and lines[0].split()[5] == path, lines
device, inode = lines[0].split()[3:5]
stat = os.stat(path)
assert int(inode) == stat.st_ino, (inode, stat.st_ino)
assert "%02x:%02x" % (os.major(stat.st_dev), os.minor(stat.st_dev)) == device, device
call("munmap", pointer(at), word(pages))

# Private, written to, which nobody else sees.
at = map(pages, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_POPULATE)
ctypes.memset(at, 0x58, size)
assert open(path, "rb").read() == content
call("munmap", pointer(at), word(pages))
"#;

fn map(context: &mut Context) -> Result<()> {
    each_script(context, MAP)
}

/// A page behind the last one of a mapping is no memory.
fn map_past_the_end(context: &mut Context) -> Result<()> {
    each(context, |path, content| {
        let script = r#"
import signal
path, size = argument[0], int(argument[1])
fd = os.open(path, os.O_RDONLY)
pages = (size + 4095) // 4096 * 4096
at = call("mmap", ctypes.c_void_p(0), ctypes.c_size_t(pages + 4096), 1, 1, fd, ctypes.c_long(0),
          result=ctypes.c_void_p)
child = os.fork()
if child == 0:
    ctypes.string_at(at + pages, 1)
    os._exit(0)
status = os.waitpid(child, 0)[1]
assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGBUS, status
"#;
        let size = content.len().to_string();
        python::run(script, &[path.as_os_str(), size.as_ref()]).map(drop)
    })
}

fn send(context: &mut Context) -> Result<()> {
    let copy = context.work.join("copy");
    each(context, |path, content| {
        let file = File::open(path)?;
        let out = File::create(&copy)?;
        let mut offset = 0;
        while sendfile(&out, &file, Some(&mut offset), 100_000)? > 0 {}
        ensure!(offset == content.len() as u64, "{offset} bytes were sent");
        ensure!(fs::read(&copy)? == content, "content differs");
        Ok(())
    })
}

fn splice_and_tee(context: &mut Context) -> Result<()> {
    each(context, |path, content| {
        let file = File::open(path)?;
        let ((out, into), (second_out, second_into)) = (pipe()?, pipe()?);
        let none = SpliceFlags::empty();
        let (mut offset, mut copy, mut second_copy) = (0, Vec::new(), Vec::new());
        loop {
            let length = splice(&file, Some(&mut offset), &into, None, 8192, none)?;
            if length == 0 {
                break;
            }
            ensure!(tee(&out, &second_into, length, none)? == length, "tee");
            for (pipe, copy) in [(&out, &mut copy), (&second_out, &mut second_copy)] {
                let mut part = vec![0; length];
                File::from(pipe.try_clone()?).read_exact(&mut part)?;
                copy.extend(part);
            }
        }
        ensure!(copy == content && second_copy == content, "content differs");
        Ok(())
    })
}

fn copy_out(context: &mut Context) -> Result<()> {
    let copy = context.work.join("copy");
    each(context, |path, content| {
        let file = File::open(path)?;
        let out = File::create(&copy)?;
        let mut offset = 0;
        loop {
            match copy_file_range(&file, Some(&mut offset), &out, None, 1 << 20) {
                Ok(0) => break,
                Ok(_) => {}
                // Between different filesystems, programs then copy by themselves.
                Err(Errno::XDEV) => {
                    tap::note("copy_file_range: EXDEV");
                    return Ok(());
                }
                Err(errno) => bail!("{errno}"),
            }
        }
        ensure!(fs::read(&copy)? == content, "content differs");
        Ok(())
    })?;
    let (source, copy) = (context.mount.join(FILES[0]), copy.to_string_lossy());
    run("cp", ["--reflink=auto", &source.to_string_lossy(), &copy])?;
    ensure!(
        fs::read(&*copy)? == basic_tree::content(FILES[0]),
        "cp's differs"
    );
    Ok(())
}

/// O_DIRECT is taken whatever a file's size and its object's filesystem (there is no direct I/O on
/// ramfs), and served from the page cache.
fn direct(context: &mut Context) -> Result<()> {
    const SCRIPT: &str = r#"
path, size = argument[0], int(argument[1])
content = open(path, "rb").read()
fd = os.open(path, os.O_RDONLY | os.O_DIRECT)
buffer = mmap.mmap(-1, 2 << 20)
for offset in (0, 1, 4096):
    seen = os.preadv(fd, [buffer], offset)
    assert buffer[:seen] == content[offset:], "%d bytes of %d at %d" % (seen, size, offset)
assert os.preadv(fd, [buffer], 0, os.RWF_NOWAIT) == size
plain = os.open(path, os.O_RDONLY)
fcntl.fcntl(plain, fcntl.F_SETFL, os.O_DIRECT)
assert os.read(plain, size + 1) == content
"#;
    each_script(context, SCRIPT)?;

    let target = context.work.join("ramfs");
    setup::create_dir(&target)?;
    mount("ramfs", &target, "ramfs", MountFlags::empty(), c"")?;
    let ramfs = Mount::adopt(&target);
    let (from, to) = (context.image.store.to_string_lossy(), ramfs.join("store"));
    let to = to.to_string_lossy();
    run("cp", ["-r", "--no-preserve=all", &from, &to])?;
    let request = Request::new(&context.image.file).set("basedir", &to);
    let mount = request
        .set("verity", "off")
        .at(&context.work.join("on-ramfs"))?;
    let plain = SCRIPT.replace(", os.RWF_NOWAIT", "");
    basic_tree::each_script(mount.root(), &FILES, &plain).context("objects on ramfs")
}

/// Mappings of two megabytes are where huge pages can be, as those of the object are.
fn alignment(context: &mut Context) -> Result<()> {
    const SCRIPT: &str = r#"
fd = os.open(argument[0], os.O_RDONLY)
for length in (3 << 20, 2 << 20, 3 << 20):
    at = call("mmap", ctypes.c_void_p(0), ctypes.c_size_t(length), 1, 2, fd, ctypes.c_long(0),
              result=ctypes.c_void_p)
    print("aligned" if at % (2 << 20) == 0 else "not aligned")
"#;
    const NAME: &str = "directory/external-3m";
    let ours = python::run(SCRIPT, &[context.mount.join(NAME)])?;
    let object = context.image.object(&basic_tree::content(NAME));
    let expected = python::run(SCRIPT, &[object])?;
    ensure!(ours == expected, "{ours}, of the object {expected}");
    Ok(())
}

const ADVISE: &str = r#"
path, size = argument[0], int(argument[1])
content = open(path, "rb").read()
fd = os.open(path, os.O_RDONLY)
for advice in (os.POSIX_FADV_SEQUENTIAL, os.POSIX_FADV_RANDOM, os.POSIX_FADV_NOREUSE,
               os.POSIX_FADV_DONTNEED, os.POSIX_FADV_WILLNEED, os.POSIX_FADV_NORMAL):
    os.posix_fadvise(fd, 0, 0, advice)
    assert os.pread(fd, size + 1, 0) == content
call("readahead", fd, ctypes.c_longlong(0), ctypes.c_size_t(size))
assert os.pread(fd, size + 1, 0) == content
"#;

fn advise(context: &mut Context) -> Result<()> {
    each_script(context, ADVISE)
}

/// Either as the object has them, or as one piece of data; never a hole where data is.
fn holes(context: &mut Context) -> Result<()> {
    const SCRIPT: &str = r#"
path, size = argument[0], int(argument[1])
fd = os.open(path, os.O_RDONLY)
content = os.pread(fd, size + 1, 0)
position = 0
while position < size:
    try:
        data = os.lseek(fd, position, os.SEEK_DATA)
    except OSError as error:
        assert error.errno == errno.ENXIO, error
        data = size
    assert not any(content[position:data]), "data in the hole %d..%d" % (position, data)
    if data == size:
        break
    position = os.lseek(fd, data, os.SEEK_HOLE)
    assert data < position <= size, (data, position)
fails(errno.ENXIO, os.lseek, fd, size, os.SEEK_DATA)
fails(errno.ENXIO, os.lseek, fd, size + 5, os.SEEK_HOLE)
fails(errno.EINVAL, os.lseek, fd, -1, os.SEEK_SET)
if size:
    assert os.lseek(fd, size - 1, os.SEEK_HOLE) == size
assert os.lseek(fd, -size, os.SEEK_END) == 0
"#;
    each_script(context, SCRIPT)?;
    let sparse = context.mount.join("sparse");
    let size = SPARSE.to_string();
    let run = python::run(SCRIPT, &[sparse.as_os_str(), size.as_ref()]);
    run.context("sparse").map(drop)
}

/// FIEMAP says where the data of the object is on its disk, as that says itself; there is no such
/// place for a file in the image.
fn extents(context: &mut Context) -> Result<()> {
    const SCRIPT: &str = r#"
fd = os.open(argument[0], os.O_RDONLY)
request = bytearray(struct.pack("=QQIIII", 0, 2**64 - 1, 0, 0, 64, 0) + bytes(64 * 56))
try:
    fcntl.ioctl(fd, 0xC020660B, request)
except OSError as error:
    print("not supported" if error.errno == errno.EOPNOTSUPP else error)
else:
    count = struct.unpack_from("=QQIIII", request)[3]
    for index in range(count):
        print(*struct.unpack_from("=QQQQQI", request, 32 + 56 * index))
"#;
    each(context, |path, content| {
        let ours = python::run(SCRIPT, &[path])?;
        let expected = if content.len() > 64 {
            python::run(SCRIPT, &[context.image.object(content)])?
        } else {
            "not supported".into()
        };
        ensure!(ours == expected, "{ours}, expected {expected}");
        Ok(())
    })?;
    // What users run where that is not there.
    let path = context.mount.join(FILES[0]);
    run(
        "cp",
        ["--sparse=always", &path.to_string_lossy(), "/dev/null"],
    )
    .map(drop)
}

/// What statx says of a file, FS_IOC_GETFLAGS says, too.
fn attributes(context: &mut Context) -> Result<()> {
    // They are the same bits: compressed, immutable, append-only, no dump, encrypted, fs-verity.
    const COMMON: u64 = 0x4 | 0x10 | 0x20 | 0x40 | 0x800 | 0x10_0000;
    for name in FILES.iter().copied().chain(["directory", ""]) {
        let file = File::open(context.mount.join(name))?;
        let stat = statx(&file, "", AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS)?;
        let attributes = stat.stx_attributes.bits() & COMMON;
        let flags = u64::from(ioctl_getflags(&file)?.bits()) & COMMON;
        ensure!(
            attributes == flags,
            "{name}: {attributes:#x} and {flags:#x}"
        );
    }
    Ok(())
}

/// The digest and the flag of verified files; others have neither.
fn verity(context: &mut Context) -> Result<()> {
    const FLAGS: &str = r#"
fd = os.open(argument[0], os.O_RDONLY)
flags = bytearray(8)
fcntl.ioctl(fd, 0x80086601, flags)
print("verity" if struct.unpack("I", flags[:4])[0] & 0x100000 else "no verity")
request = bytearray(struct.pack("HH", 0, 64) + bytes(64))
try:
    fcntl.ioctl(fd, 0xC0046686, request)
    algorithm, length = struct.unpack("HH", request[:4])
    print(algorithm, request[4:4 + length].hex())
except OSError as error:
    print(errno.errorcode[error.errno])
"#;
    each(context, |path, content| {
        let seen = python::run(FLAGS, &[path])?;
        let mut lines = seen.lines();
        let (flag, digest) = (
            lines.next().unwrap_or_default(),
            lines.next().unwrap_or_default(),
        );
        if content.len() > 64 {
            let expected = format!("1 {}", hex_digest(Algorithm::Sha256, content));
            ensure!(flag == "verity", "{flag}");
            ensure!(digest == expected, "{digest}");
            let text = path.to_string_lossy();
            let measured = run("fsverity", ["measure", &text])?;
            ensure!(measured.contains(&expected[2..]), "{measured}");
            ensure!(run("lsattr", [&*text])?.contains('V'), "lsattr shows no V");
        } else {
            ensure!(flag == "no verity", "{flag}");
            ensure!(
                matches!(digest, "ENODATA" | "ENOTTY" | "EOPNOTSUPP"),
                "{digest}"
            );
        }
        Ok(())
    })?;
    // A directory, and a request that changes something.
    python::run(
        r#"
fd = os.open(argument[0], os.O_RDONLY)
flags = bytearray(8)
fcntl.ioctl(fd, 0x80086601, flags)
for target in (fd, os.open(argument[0] + "/external-4097", os.O_RDONLY)):
    for request, size in ((0x40086602, 8), (0x40806685, 128), (0x401C5820, 28)):
        try:
            fcntl.ioctl(target, request, bytearray(size))
        except OSError as error:
            assert error.errno in (errno.EROFS, errno.EPERM, errno.ENOTTY, errno.EOPNOTSUPP,
                                   errno.EINVAL), (hex(request), error)
        else:
            raise AssertionError("ioctl %#x worked" % request)
"#,
        &[context.mount.root()],
    )
    .map(drop)
}

const CASES: &[Case<Context>] = &[
    ("preadv2 with RWF_NOWAIT", no_wait),
    ("mmap, mremap, mlock, mprotect, madvise", map),
    ("mmap past the end", map_past_the_end),
    ("sendfile", send),
    ("splice and tee", splice_and_tee),
    ("copy_file_range", copy_out),
    ("O_DIRECT", direct),
    ("where mappings are", alignment),
    ("posix_fadvise and readahead", advise),
    ("SEEK_DATA and SEEK_HOLE", holes),
    ("FIEMAP", extents),
    ("statx and FS_IOC_GETFLAGS", attributes),
    ("FS_IOC_GETFLAGS and FS_IOC_MEASURE_VERITY", verity),
];

fn main() -> ExitCode {
    tap::run(set_up, CASES)
}
