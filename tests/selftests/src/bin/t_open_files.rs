// SPDX-License-Identifier: GPL-2.0-only
//! Locks, leases, watches and paths of open files, in the store and in the image alike.
#![forbid(unsafe_code)]

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{bail, ensure, Context as _, Result};
use composefs_selftests::basic_tree::{self, content};
use composefs_selftests::command::run;
use composefs_selftests::disk::Disk;
use composefs_selftests::image::{build, build_into};
use composefs_selftests::mount::Mount;
use composefs_selftests::python;
use composefs_selftests::setup;
use composefs_selftests::tap::{self, Case};
use rustix::fs::{fdatasync, flock, fsync, inotify, syncfs, FlockOperation, OFlags};
use rustix::io::Errno;

/// One file in the store, large and small, and two in the image.
const FILES: [&str; 4] = ["external-1m", "external-4097", "inline-64", "empty"];

struct Context {
    work: PathBuf,
    mount: Mount,
}

fn set_up() -> Result<Context> {
    setup::require_driver()?;
    setup::load_module()?;
    let work = setup::work_directory("open-files")?;
    let source = work.join("source");
    basic_tree::create(&source)?;
    let image = build(&setup::mkcomposefs(), &source, &work, &[])?;
    let mount = image.request().at(&work.join("mount"))?;
    setup::drop_caches()?;
    Ok(Context { work, mount })
}

fn each(context: &Context, test: impl Fn(&Path, &[u8]) -> Result<()>) -> Result<()> {
    basic_tree::each(context.mount.root(), &FILES, test)
}

fn each_script(context: &Context, script: &str) -> Result<()> {
    basic_tree::each_script(context.mount.root(), &FILES, script)
}

fn locks(context: &mut Context) -> Result<()> {
    each(context, |path, _| {
        let (first, second) = (File::open(path)?, File::open(path)?);
        flock(&first, FlockOperation::LockExclusive)?;
        let refused = flock(&second, FlockOperation::NonBlockingLockShared);
        ensure!(refused == Err(Errno::WOULDBLOCK), "flock: {refused:?}");
        flock(&first, FlockOperation::Unlock)?;
        flock(&second, FlockOperation::NonBlockingLockShared)?;
        flock(&first, FlockOperation::NonBlockingLockShared)?;
        Ok(())
    })?;
    each_script(
        context,
        r#"
path, size = argument[0], int(argument[1])
first, second = os.open(path, os.O_RDONLY), os.open(path, os.O_RDONLY)
F_OFD_SETLK = 37
def lock(kind, start=0, length=10):
    return struct.pack("hhqqi4x", kind, 0, start, length, 0)
fcntl.fcntl(first, F_OFD_SETLK, lock(fcntl.F_RDLCK))
fcntl.fcntl(second, F_OFD_SETLK, lock(fcntl.F_RDLCK, 5))
fails(errno.EBADF, fcntl.fcntl, first, F_OFD_SETLK, lock(fcntl.F_WRLCK))
fcntl.fcntl(first, F_OFD_SETLK, lock(fcntl.F_UNLCK, 0, 0))
fcntl.fcntl(second, F_OFD_SETLK, lock(fcntl.F_UNLCK, 0, 0))
# POSIX locks: another process meets it.
fcntl.lockf(first, fcntl.LOCK_SH | fcntl.LOCK_NB)
child = os.fork()
if child == 0:
    lock = struct.pack("hhqqi4x", fcntl.F_WRLCK, 0, 0, 0, 0)
    kind, _, _, _, owner = struct.unpack("hhqqi4x", fcntl.fcntl(second, fcntl.F_GETLK, lock))
    os._exit(0 if kind == fcntl.F_RDLCK and owner == os.getppid() else 1)
assert os.waitpid(child, 0)[1] == 0, "the lock is not seen"
# A read lease is given, as nobody can write; a write lease is not, as others have it open.
fcntl.fcntl(first, fcntl.F_SETLEASE, fcntl.F_RDLCK)
assert fcntl.fcntl(first, fcntl.F_GETLEASE) == fcntl.F_RDLCK
fcntl.fcntl(first, fcntl.F_SETLEASE, fcntl.F_UNLCK)
assert fcntl.fcntl(first, fcntl.F_GETLEASE) == fcntl.F_UNLCK
"#,
    )
}

fn watch(context: &mut Context) -> Result<()> {
    each(context, |path, content| {
        let watch = inotify::init(inotify::CreateFlags::NONBLOCK)?;
        let wanted = inotify::WatchFlags::OPEN
            | inotify::WatchFlags::ACCESS
            | inotify::WatchFlags::CLOSE_NOWRITE;
        inotify::add_watch(&watch, path, wanted)?;
        ensure!(fs::read(path)? == content, "content differs");
        let mut buffer = [std::mem::MaybeUninit::uninit(); 4096];
        let mut reader = inotify::Reader::new(&watch, &mut buffer);
        let mut seen = inotify::ReadFlags::empty();
        loop {
            match reader.next() {
                Ok(event) => seen |= event.events(),
                Err(Errno::AGAIN) => break,
                Err(errno) => bail!("{errno}"),
            }
        }
        for flag in [inotify::ReadFlags::OPEN, inotify::ReadFlags::CLOSE_NOWRITE] {
            ensure!(seen.contains(flag), "no {flag:?} among {seen:?}");
        }
        ensure!(
            content.is_empty() || seen.contains(inotify::ReadFlags::ACCESS),
            "no ACCESS among {seen:?}"
        );
        Ok(())
    })
}

/// fanotify: a mark on the whole filesystem reports files with their handles, and a permission
/// event can refuse an open.
fn watch_everything(context: &mut Context) -> Result<()> {
    each_script(
        context,
        r#"
path, size = argument[0], int(argument[1])
FAN_OPEN, FAN_OPEN_PERM, FAN_REPORT_FID = 0x20, 0x10000, 0x200
def mark(fd, mask, flags):
    call("fanotify_mark", fd, 1 | flags, ctypes.c_uint64(mask), -100, path.encode())
# By file handle, of the filesystem.
fd = call("fanotify_init", 2 | FAN_REPORT_FID, os.O_RDONLY)
mark(fd, FAN_OPEN, 0x100)
open(path, "rb").close()
event = os.read(fd, 4096)
assert struct.unpack("IBBHQ", event[:16])[4] & FAN_OPEN, event
handle_bytes, handle_type = struct.unpack("Ii", event[24 + 12:24 + 20])
assert handle_bytes > 0 and handle_type > 0, (handle_bytes, handle_type)
os.close(fd)
# By permission, of the file.
fd = call("fanotify_init", 4, os.O_RDONLY)
mark(fd, FAN_OPEN_PERM, 0)
child = os.fork()
if child == 0:
    try:
        os.open(path, os.O_RDONLY)
    except PermissionError:
        os._exit(7)
    os._exit(1)
event = os.read(fd, 4096)
length, version, _, metadata, mask, opened, pid = struct.unpack("IBBHQii", event[:24])
assert pid == child and mask & FAN_OPEN_PERM
assert os.readlink("/proc/self/fd/%d" % opened) == path
assert os.read(opened, size + 1).__len__() == size
os.write(fd, struct.pack("iI", opened, 2))
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
"#,
    )
}

fn sync(context: &mut Context) -> Result<()> {
    each(context, |path, _| {
        let file = File::open(path)?;
        fsync(&file).context("fsync")?;
        fdatasync(&file).context("fdatasync")?;
        syncfs(&file).context("syncfs")
    })?;
    let directory = File::open(context.mount.root())?;
    fsync(&directory).context("fsync of a directory")
}

/// The path of the file in the mount, not that of the object.
fn shown_paths(context: &mut Context) -> Result<()> {
    each(context, |path, _| {
        let file = File::open(path)?;
        let link = fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd()))?;
        ensure!(link == path, "/proc/self/fd: {}", link.display());
        let again = File::open(format!("/proc/self/fd/{}", file.as_raw_fd()))?;
        ensure!(
            again.metadata()?.len() == file.metadata()?.len(),
            "reopened"
        );
        let by_path = OpenOptions::new()
            .read(true)
            .custom_flags(OFlags::PATH.bits() as i32)
            .open(path)?;
        let link = fs::read_link(format!("/proc/self/fd/{}", by_path.as_raw_fd()))?;
        ensure!(link == path, "O_PATH: {}", link.display());
        Ok(())
    })?;
    let source = context.work.join("program");
    setup::create_dir(&source.join("source"))?;
    fs::copy(fs::canonicalize("/bin/cat")?, source.join("source/cat"))?;
    let image = build(&setup::mkcomposefs(), &source.join("source"), &source, &[])?;
    let mount = image.request().at(&source.join("mount"))?;
    let path = mount.join("cat");
    let mut child = Command::new(&path)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    // Its mappings are complete once it answers.
    let mut answer = [0; 6];
    child
        .stdin
        .as_mut()
        .context("stdin")?
        .write_all(b"ready\n")?;
    child
        .stdout
        .as_mut()
        .context("stdout")?
        .read_exact(&mut answer)?;
    let exe = fs::read_link(format!("/proc/{}/exe", child.id()));
    let maps = fs::read_to_string(format!("/proc/{}/maps", child.id()));
    let files = run("ls", ["-l", &format!("/proc/{}/map_files", child.id())]);
    child.kill()?;
    child.wait()?;
    let (exe, maps, files) = (exe?, maps?, files?);
    ensure!(exe == path, "/proc/PID/exe: {}", exe.display());
    let text = path.to_string_lossy();
    ensure!(
        maps.lines().filter(|line| line.ends_with(&*text)).count() >= 2,
        "/proc/PID/maps:\n{maps}"
    );
    ensure!(
        !maps.contains("/store/") && !files.contains("/store/"),
        "objects show in /proc:\n{maps}\n{files}"
    );
    Ok(())
}

/// Under the lock that is held for mmap, no file may be opened: whoever has a say in that could wait
/// for the lock.
fn mapping_opens_nothing(context: &mut Context) -> Result<()> {
    const SCRIPT: &str = concat!(
        include_str!("../../python/tracefs.py"),
        r#"
fd, size = os.open(argument[0], os.O_RDONLY), int(argument[1])
with Event("kprobes", "p:%s security_file_open") as event:
    event.write("events/kprobes/composefs_test/filter", "common_pid == %d" % os.getpid())
    event.enable()
    for protection in (1, 5):
        call("mmap", ctypes.c_void_p(0), ctypes.c_size_t(max(size, 1)), protection, 2, fd,
             ctypes.c_long(0), result=ctypes.c_void_p)
    hits = event.hits()
    assert not hits, hits
    event.enable()
    os.close(os.open(argument[0], os.O_RDONLY))
    assert event.hits(), "opening a file does not show"
"#
    );
    each_script(context, SCRIPT)
}

/// A mapping needs neither the open file that it was made of, nor the mount, nor the object's name,
/// and holds nothing any more when it goes.
fn mapping_alone(context: &mut Context) -> Result<()> {
    let work = context.work.join("mapping");
    setup::create_dir(&work)?;
    let mut disk = Disk::create(&work, 64 << 20)?;
    let (source, store) = (context.work.join("source"), disk.root().join("store"));
    let image = build_into(&setup::mkcomposefs(), &source, &work, &store, &[])?;
    let mount = image.request().at(&work.join("mount"))?;
    let (path, object) = (mount.join(FILES[0]), image.object(&content(FILES[0])));
    python::run(
        r#"
path, object, root = argument
fd = os.open(path, os.O_RDONLY)
size = os.fstat(fd).st_size
content = os.pread(fd, size, 0)
at = call("mmap", ctypes.c_void_p(0), ctypes.c_size_t(size), 1, 2, fd, ctypes.c_long(0),
          result=ctypes.c_void_p)
os.close(fd)
call("umount2", root.encode(), 2)
os.unlink(object)
for _ in range(2):
    os.sync()
    open("/proc/sys/vm/drop_caches", "w").write("3")
    child = os.fork()
    if child == 0:
        os._exit(ctypes.string_at(at, size) != content)
    assert os.waitpid(child, 0)[1] == 0, "the child's"
    assert ctypes.string_at(at, size) == content
call("munmap", ctypes.c_void_p(at), ctypes.c_size_t(size))
"#,
        &[&path, &object, mount.root()],
    )?;
    mount.forget();
    // Not if anything below it is still in use.
    disk.tamper(&[]).context("unmounting the store")
}

const CASES: &[Case<Context>] = &[
    ("flock, POSIX locks, leases", locks),
    ("inotify", watch),
    ("fanotify", watch_everything),
    ("fsync, fdatasync, syncfs", sync),
    ("paths in /proc", shown_paths),
    ("mmap opens nothing", mapping_opens_nothing),
    ("a mapping, and nothing else", mapping_alone),
];

fn main() -> ExitCode {
    tap::run(set_up, CASES)
}
