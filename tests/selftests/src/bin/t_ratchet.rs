// SPDX-License-Identifier: GPL-2.0-only
//! require_signatures, switched on while unsigned images are mounted and used: none of that is
//! served any more, on whatever path, and nobody has to wait.
#![forbid(unsafe_code)]

use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use anyhow::{bail, ensure, Context as _, Result};
use composefs_selftests::command::output;
use composefs_selftests::mount::{Mount, Request};
use composefs_selftests::nfs::{wait_until_blocked, Server};
use composefs_selftests::policy::{turn_on, Policy, FILE, PARAMETER};
use composefs_selftests::signing::reload_module;
use composefs_selftests::tap::{self, note, Case};
use composefs_selftests::{python, setup, tree};
use rustix::io::Errno;

/// Tries everything on an unsigned mount while the parameter is switched on. Prints what failed
/// otherwise than with EKEYREJECTED, or did not. (A directory that is in use can still be opened or
/// entered; what is in it cannot be seen.)
const LOOK: &str = r#"
root, parameter, name = argument
class Handle(ctypes.Structure):
    _fields_ = [("bytes", ctypes.c_uint), ("type", ctypes.c_int), ("data", ctypes.c_ubyte * 128)]
def handle_of(path):
    handle, mount = Handle(bytes=128), ctypes.c_int()
    call("name_to_handle_at", -100, os.fsencode(path), ctypes.byref(handle), ctypes.byref(mount), 0)
    return handle
at = lambda path: os.path.join(root, path)
inline, link, program = at("inline-64"), at("link"), at("true")
file, unread = at(name), at("external-8192")
directory = os.open(root, os.O_RDONLY)
inner = os.open(at("directory"), os.O_RDONLY)
external, small = os.open(file, os.O_RDONLY), os.open(inline, os.O_RDONLY)
virgin, path_only = os.open(unread, os.O_RDONLY), os.open(file, os.O_PATH)
executable = os.open(program, os.O_RDONLY)
handles = [handle_of(p) for p in (root, file, inline, at("directory"))]
content, little = os.pread(external, 10000, 0), os.pread(small, 100, 0)
assert len(content) == 4097 and len(little) == 64
assert os.getxattr(file, "user.name") == b"value"
mapped = mmap.mmap(external, 4097, prot=mmap.PROT_READ)
os.listdir(root)
# What the kernel has cached of it, it does not ask for again.
GET_FLAGS, GET_ATTRIBUTES, FILE_GETATTR = 0x80086601, 0x801C581F, 468
access_acl, default_acl = "system.posix_acl_access", "system.posix_acl_default"
assert len(os.getxattr(external, access_acl)) == len(os.getxattr(inner, default_acl)) == 44
fails(errno.ENODATA, os.getxattr, virgin, access_acl)
fails(errno.ENODATA, os.getxattr, external, "security.ima")
assert len(os.getxattr(executable, "security.capability")) == 20
flags_of = lambda path: call("syscall", FILE_GETATTR, directory, path, ctypes.create_string_buffer(24), 24, 0)
flags_of(b"link"), flags_of(os.fsencode(name))
sink, source = os.pipe()
extents = bytearray(struct.pack("=QQIIII", 0, 2**64 - 1, 0, 0, 8, 0) + bytes(8 * 56))
tries = {
    "stat": lambda: os.stat(file),
    "lstat": lambda: os.lstat(link),
    "stat of the root": lambda: os.stat(root),
    "fstat": lambda: os.fstat(external),
    "fstat of O_PATH": lambda: os.fstat(path_only),
    "a name that is cached": lambda: os.stat(name, dir_fd=directory),
    "a name that is not": lambda: os.stat("external-4095", dir_fd=directory),
    "a name that does not exist": lambda: os.stat("nothing", dir_fd=directory),
    "a name below": lambda: os.stat("deeper", dir_fd=inner),
    "dot dot": lambda: os.stat("..", dir_fd=inner),
    "open": lambda: os.open(file, os.O_RDONLY),
    "open of an inline file": lambda: os.open(inline, os.O_RDONLY),
    "open of a directory": lambda: os.listdir(os.open(at("directory"), os.O_RDONLY)),
    "open through /proc": lambda: os.open("/proc/self/fd/%d" % external, os.O_RDONLY),
    "open of O_PATH through /proc": lambda: os.open("/proc/self/fd/%d" % path_only, os.O_RDONLY),
    "openat": lambda: os.open(name, os.O_RDONLY, dir_fd=directory),
    "pread": lambda: os.pread(external, 100, 0),
    "pread of what was not read": lambda: os.pread(virgin, 100, 0),
    "preadv": lambda: os.preadv(external, [bytearray(10)], 0, os.RWF_NOWAIT),
    "pread of an inline file": lambda: os.pread(small, 100, 0),
    "sendfile": lambda: os.sendfile(source, external, 0, 100),
    "sendfile of an inline file": lambda: os.sendfile(source, small, 0, 10),
    "splice": lambda: os.splice(external, source, 100, offset_src=0),
    "splice of an inline file": lambda: os.splice(small, source, 10, offset_src=0),
    "copy_file_range": lambda: os.copy_file_range(external, target, 100, 0),
    "fiemap": lambda: fcntl.ioctl(external, 0xC020660B, extents),
    "mmap": lambda: mmap.mmap(virgin, 100, prot=mmap.PROT_READ),
    "mmap again": lambda: mmap.mmap(external, 100, prot=mmap.PROT_READ),
    "mmap of an inline file": lambda: mmap.mmap(small, 10, prot=mmap.PROT_READ),
    "listdir": lambda: os.listdir(root),
    "listdir of an open directory": lambda: (os.lseek(directory, 0, 0), os.listdir(directory)),
    "readlink": lambda: os.readlink(link),
    "through a symlink": lambda: os.stat(link),
    "getxattr": lambda: os.getxattr(file, "user.name"),
    "fgetxattr": lambda: os.getxattr(external, "user.name"),
    "an ACL": lambda: os.getxattr(file, access_acl),
    "an ACL of an open file": lambda: os.getxattr(external, access_acl),
    "an ACL that there is not": lambda: os.getxattr(virgin, access_acl),
    "an ACL of a directory": lambda: os.getxattr(inner, default_acl),
    "capabilities": lambda: os.getxattr(executable, "security.capability"),
    "an attribute of security": lambda: os.getxattr(external, "security.ima"),
    "flags": lambda: fcntl.ioctl(external, GET_FLAGS, bytes(8)),
    "flags of an inline file": lambda: fcntl.ioctl(small, GET_FLAGS, bytes(8)),
    "flags of a directory": lambda: fcntl.ioctl(directory, GET_FLAGS, bytes(8)),
    "attributes": lambda: fcntl.ioctl(external, GET_ATTRIBUTES, bytes(28)),
    "attributes by name": lambda: flags_of(os.fsencode(name)),
    "listxattr": lambda: os.listxattr(file),
    "chdir": lambda: (os.chdir(at("directory")), os.listdir(".")),
    "chdir, and a name": lambda: (os.chdir(at("directory")), os.stat("external-3m")),
    "execve": lambda: os.execv(program, ["true"]),
    "fexecve": lambda: os.execve(executable, ["true"], {}),
}
for number, handle in enumerate(handles):
    tries["handle %d" % number] = lambda handle=handle: \
        call("open_by_handle_at", directory, ctypes.byref(handle), os.O_RDONLY)
target = os.open("/tmp", os.O_RDWR | os.O_TMPFILE)
open(parameter, "w").write("1")
bad = 0
for what, action in tries.items():
    try:
        value = action()
    except OSError as error:
        # The VFS has its own opinion of copies to elsewhere, and its own name for bad handles.
        also = {"copy_file_range": errno.EXDEV}.get(what, errno.ESTALE if "handle" in what else 0)
        if error.errno not in (errno.EKEYREJECTED, also):
            bad += 1
            print("%s: %s" % (what, error))
    else:
        bad += 1
        print("%s: works: %r" % (what, value))
print("%d tried, %d not refused" % (len(tries), bad))
"#;

fn mounted_before(context: &mut Policy) -> Result<()> {
    for digest in [false, true] {
        context.reload(&[])?;
        let request = match digest {
            true => context.image.request(),
            false => context.plain(),
        };
        let unsigned = request.at(&context.target())?;
        let signed = context.signed().at(&context.work.join("signed"))?;
        context.serves(unsigned.root())?;
        let arguments = [unsigned.root(), Path::new(PARAMETER), Path::new(FILE)];
        let printed = python::run(LOOK, &arguments)?;
        note(&printed);
        ensure!(printed.ends_with(", 0 not refused"), "{printed}");
        // What is signed is as it was.
        ensure!(
            tree::read(signed.root())?.len() > 10,
            "the signed mount is not whole"
        );
        context.serves(signed.root())?;
        setup::drop_caches()?;
        context.serves(signed.root())?;
        ensure!(context.serves(unsigned.root()).is_err(), "served");
        signed.unmount()?;
        unsigned.unmount()?;
    }
    Ok(())
}

/// By way of other mounts.
fn detours(context: &mut Policy) -> Result<()> {
    context.reload(&[])?;
    setup::modprobe("overlay")?;
    let unsigned = context.plain().at(&context.target())?;
    let overlay = context.work.join("overlay");
    let bind = context.work.join("bind");
    let layer = context.work.join("layer");
    for directory in [&overlay, &bind, &layer] {
        setup::create_dir(directory)?;
    }
    let lower = format!("lowerdir={}:{}", layer.display(), unsigned.root().display());
    output(
        Command::new("mount")
            .args(["-t", "overlay", "-o", &lower, "overlay"])
            .arg(&overlay),
    )?;
    let overlay = Mount::adopt(&overlay);
    output(
        Command::new("mount")
            .arg("--bind")
            .arg(unsigned.root())
            .arg(&bind),
    )?;
    let bind = Mount::adopt(&bind);
    context.serves(overlay.root())?;
    context.serves(bind.root())?;
    turn_on()?;
    for root in [overlay.root(), bind.root()] {
        for file in [FILE, "inline-64", "external-8192"] {
            let read = fs::read(root.join(file));
            ensure!(read.is_err(), "{} was served", root.join(file).display());
        }
        setup::drop_caches()?;
        ensure!(fs::read(root.join(FILE)).is_err(), "served after all");
    }
    bind.unmount()?;
    overlay.unmount()?;
    unsigned.unmount()
}

/// What is taken for a signature is read while the mount is in progress, and the ratchet waits for
/// mounts in progress: not for one that reads the parameter.
fn parameter_as_signature(context: &mut Policy) -> Result<()> {
    context.reload(&["require_signatures=1"])?;
    let request = context.plain().set("signature", PARAMETER);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut count = 0;
            while !done.load(Ordering::Relaxed) {
                turn_on()?;
                count += 1;
            }
            Ok(count)
        });
        let result =
            (0..300).try_for_each(|_| context.is_refused(&request, Errno::BADMSG, "PKCS#7"));
        done.store(true, Ordering::Relaxed);
        let count: Result<usize> = writer.join().unwrap_or_else(|_| bail!("a panic"));
        note(format_args!("written {} times meanwhile", count?));
        result
    })
}

/// What has to be done in a moment.
fn at_once(what: &str, action: impl FnOnce() -> Result<()> + Send + 'static) -> Result<()> {
    let (done, wait) = mpsc::channel();
    std::thread::spawn(move || done.send(action()));
    match wait.recv_timeout(Duration::from_secs(30)) {
        Ok(result) => result.context(what.to_owned()),
        Err(_) => bail!("{what} does not end"),
    }
}

/// Image or store are on a server that does not answer while they are mounted.
fn waiting_for_a_server(context: &mut Policy) -> Result<()> {
    let served = context.work.join("served");
    setup::create_dir(&served.join("store"))?;
    let image = served.join("image");
    fs::copy(&context.image.file, &image)?;
    let mut server = Server::start(&served, "ro")?;
    let client = server.mount(&context.work.join("client"), "ro,hard,timeo=10")?;
    let remote_image = Request::new(&client.join("image")).basedir(&context.image.store);
    let remote_store = Request::new(&context.image.file).basedir(&client.join("store"));
    for request in [remote_image, remote_store] {
        context.reload(&[])?;
        fs::read(client.join("image"))?;
        setup::drop_caches()?;
        server.stop()?;
        std::thread::scope(|scope| {
            let (tell, number) = mpsc::channel();
            let (context, request) = (&*context, &request);
            let mounting = scope.spawn(move || {
                tell.send(rustix::thread::gettid().as_raw_nonzero())?;
                context.is_refused(request, Errno::KEYREJECTED, "require_signatures")
            });
            let task = format!("/proc/self/task/{}", number.recv()?);
            let result = wait_until_blocked(Path::new(&task)).and_then(|()| {
                at_once("sync", || {
                    rustix::fs::sync();
                    Ok(())
                })?;
                at_once("the parameter", turn_on)
            });
            // Whoever waits can go on.
            server.restart()?;
            let refused = mounting.join().unwrap_or_else(|_| bail!("a panic"));
            result.and(refused)
        })?;
    }
    client.unmount()
}

const CASES: &[Case<Policy>] = &[
    (
        "what is mounted unsigned serves nothing any more",
        mounted_before,
    ),
    ("nor by way of bind mounts and overlays", detours),
    ("the parameter, read as a signature", parameter_as_signature),
    (
        "nobody waits for a mount that waits for a server",
        waiting_for_a_server,
    ),
];

fn main() -> ExitCode {
    let code = tap::run(|| Policy::set_up("ratchet"), CASES);
    // The next program starts with a module that nobody has told anything.
    let _ = reload_module(&[]);
    code
}
