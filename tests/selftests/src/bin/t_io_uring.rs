// SPDX-License-Identifier: GPL-2.0-only
//! Reads by io_uring: of files in the store and in the image, from the disk and from the cache,
//! many at once.
#![forbid(unsafe_code)]

use std::ffi::OsStr;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use composefs_selftests::basic_tree;
use composefs_selftests::image::build;
use composefs_selftests::io_uring::RING;
use composefs_selftests::mount::Mount;
use composefs_selftests::python;
use composefs_selftests::setup;
use composefs_selftests::tap::{self, Case, Skip};

/// In the store, large and small, and in the image.
const FILES: [&str; 5] = [
    "external-1m",
    "external-4097",
    "external-65",
    "inline-64",
    "empty",
];

struct Context {
    mount: Mount,
    /// The tree that the image was made of, to compare with.
    source: std::path::PathBuf,
}

fn set_up() -> Result<Context> {
    setup::load_module()?;
    if python::run(&format!("{RING}Ring(4)"), &["", ""]).is_err() {
        return Err(Skip("the kernel has no io_uring, or does not let us use it".into()).into());
    }
    let work = setup::work_directory("io-uring")?;
    let source = work.join("source");
    basic_tree::create(&source)?;
    let image = build(&setup::mkcomposefs(), &source, &work, &[])?;
    let mount = image.request().at(&work.join("mount"))?;
    Ok(Context { mount, source })
}

/// What the scripts of [`each`] share.
const PREPARE: &str = r#"
path, source = argument
def cold():
    os.sync()
    open("/proc/sys/vm/drop_caches", "w").write("3")

# How much each piece of a read must give, as its offset says.
def expected(offset, length):
    return content[offset:offset + length]

content = open(source, "rb").read()
size = len(content)
fd = os.open(path, os.O_RDONLY)
ring = Ring(64)
"#;

/// Runs a script on each of [`FILES`], with the expected content in `content`.
fn each(context: &Context, script: &str) -> Result<()> {
    for name in FILES {
        let script = format!("{RING}{PREPARE}{script}");
        let (path, source) = (context.mount.join(name), context.source.join(name));
        let arguments: [&OsStr; 2] = [path.as_ref(), source.as_ref()];
        python::run(&script, &arguments).context(name)?;
    }
    Ok(())
}

/// Pieces of odd sizes, all in flight together, in any order; past the end too.
fn read(context: &mut Context) -> Result<()> {
    each(
        context,
        r#"
direct = os.open(path, os.O_RDONLY | os.O_DIRECT)
for opened, flags in ((fd, 0), (fd, ASYNC), (direct, 0), (direct, ASYNC)):
    for is_cold in (True, False):
        if is_cold:
            cold()
        for start in range(0, size + 1, 64 * 7001):
            pieces = {}
            for offset in range(start, min(size + 1, start + 64 * 7001), 7001):
                buffer = ctypes.create_string_buffer(b"\xee" * 7001, 7001)
                pieces[offset] = buffer
                ring.queue(offset, READ, opened, ctypes.addressof(buffer), 7001, offset, flags)
            for offset, result in ring.run().items():
                wanted = expected(offset, 7001)
                assert result == len(wanted), (offset, result, len(wanted))
                assert pieces[offset].raw == wanted + b"\xee" * (7001 - len(wanted)), offset
buffer = ctypes.create_string_buffer(10)
ring.queue(1, READ, fd, ctypes.addressof(buffer), 10, size)
ring.queue(2, READ, fd, ctypes.addressof(buffer), 10, size + 100000)
assert ring.run() == {1: 0, 2: 0}
# At the position of the file, one after the other.
parts = [ctypes.create_string_buffer(50) for _ in range(3)]
for number, part in enumerate(parts):
    ring.queue(number, READ, fd, ctypes.addressof(part), 50, 2**64 - 1, LINK if number < 2 else 0)
results = ring.run()
seen = b"".join(part.raw[:max(0, results[number])] for number, part in enumerate(parts))
# A read that is short breaks the chain.
assert seen == content[:len(seen)] and (len(seen) == 150 or len(seen) == size), results
assert os.lseek(fd, 0, os.SEEK_CUR) == len(seen)
"#,
    )
}

fn read_vectors(context: &mut Context) -> Result<()> {
    each(
        context,
        r#"
for is_cold in (True, False):
    if is_cold:
        cold()
    for offset in (0, 1, 4095, 60000):
        lengths = (1, 4096, 5, 0, 100000)
        buffers = [ctypes.create_string_buffer(max(1, length)) for length in lengths]
        vector = (ctypes.c_uint64 * 10)()
        for index, (buffer, length) in enumerate(zip(buffers, lengths)):
            vector[2 * index], vector[2 * index + 1] = ctypes.addressof(buffer), length
        ring.queue(7, READV, fd, ctypes.addressof(vector), 5, offset)
        result = ring.run()[7]
        wanted = expected(offset, sum(lengths))
        assert result == len(wanted), (offset, result, len(wanted))
        seen = b"".join(buffer.raw[:length] for buffer, length in zip(buffers, lengths))
        assert seen[:result] == wanted, offset
"#,
    )
}

/// Buffers and files that are registered with the ring, pinned for as long.
fn read_fixed(context: &mut Context) -> Result<()> {
    each(
        context,
        r#"
buffers = [mmap.mmap(-1, 256 << 10) for _ in range(4)]
addresses = [ctypes.addressof(ctypes.c_char.from_buffer(buffer)) for buffer in buffers]
vector = (ctypes.c_uint64 * 8)()
for index, address in enumerate(addresses):
    vector[2 * index], vector[2 * index + 1] = address, 256 << 10
ring.register(0, vector, 4)
ring.register(2, (ctypes.c_int * 1)(fd), 1)
for is_cold in (True, False):
    if is_cold:
        cold()
    for start in range(0, size + 1, 4 * 131072):
        for index in range(4):
            # Not aligned in memory, the last one not in the file either.
            offset = start + index * 131072 + (1 if index == 3 else 0)
            ring.queue(index, READ_FIXED, 0, addresses[index] + 77, 131072, offset, FIXED_FILE,
                       buffer=index)
        for index, result in ring.run().items():
            wanted = expected(start + index * 131072 + (1 if index == 3 else 0), 131072)
            assert result == len(wanted), (start, index, result, len(wanted))
            assert buffers[index][77:77 + result] == wanted, (start, index)
# Outside of the registered buffer.
ring.queue(1, READ_FIXED, fd, addresses[0] - 4096, 10, 0, buffer=0)
assert ring.run()[1] == -errno.EFAULT
os.close(fd)
ring.queue(1, READ_FIXED, 0, addresses[0], 64, 0, FIXED_FILE)
result = ring.run()[1]
assert result == min(size, 64), result
"#,
    )
}

/// Into a pipe, with advice before it.
fn splice(context: &mut Context) -> Result<()> {
    each(
        context,
        r#"
cold()
ring.queue(1, FADVISE, fd, 0, size, 0, rw=os.POSIX_FADV_WILLNEED)
assert ring.run()[1] == 0
out, into = os.pipe()
offset, seen = 0, b""
while True:
    # The offset into the pipe is none; that into the file is in the place of the address.
    ring.queue(2, SPLICE, into, offset, 8192, 2**64 - 1, extra=fd)
    result = ring.run()[2]
    assert result >= 0, result
    if result == 0:
        break
    offset += result
    seen += os.read(out, result)
assert seen == content, len(seen)
"#,
    )
}

fn errors(context: &mut Context) -> Result<()> {
    let script = r#"
path, _ = argument
ring = Ring(8)
buffer = ctypes.create_string_buffer(100)
directory = os.open(path, os.O_RDONLY)
ring.queue(1, READ, directory, ctypes.addressof(buffer), 100)
assert ring.run()[1] == -errno.EISDIR
by_path = os.open(path + "/external-4097", os.O_PATH)
ring.queue(2, READ, by_path, ctypes.addressof(buffer), 100)
assert ring.run()[2] == -errno.EBADF
for name in ("external-4097", "inline-64"):
    fd = os.open(path + "/" + name, os.O_RDONLY)
    ring.queue(3, READ, fd, 8, 50)
    assert ring.run()[3] == -errno.EFAULT
"#;
    let script = format!("{RING}{script}");
    python::run(&script, &[context.mount.root(), "".as_ref()]).map(drop)
}

const CASES: &[Case<Context>] = &[
    ("IORING_OP_READ", read),
    ("IORING_OP_READV", read_vectors),
    ("IORING_OP_READ_FIXED", read_fixed),
    ("IORING_OP_FADVISE and IORING_OP_SPLICE", splice),
    ("errors", errors),
];

fn main() -> ExitCode {
    tap::run(set_up, CASES)
}
