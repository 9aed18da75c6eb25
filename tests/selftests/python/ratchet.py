# SPDX-License-Identifier: GPL-2.0-only
# Looks at what is mounted before and after the parameter is set.

root, parameter, name = argument
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
