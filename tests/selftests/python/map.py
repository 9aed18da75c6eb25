# SPDX-License-Identifier: GPL-2.0-only
# Maps a file in all ways.

path, size = argument[0], int(argument[1])
if size == 0:
    sys.exit()
content = open(path, "rb").read()
os.posix_fadvise(os.open(path, os.O_RDONLY), 0, 0, os.POSIX_FADV_DONTNEED)
fd = os.open(path, os.O_RDONLY)
page = mmap.PAGESIZE
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
