# SPDX-License-Identifier: GPL-2.0-only
# Gives advice about a file.

path, size = argument[0], int(argument[1])
content = open(path, "rb").read()
fd = os.open(path, os.O_RDONLY)
for advice in (os.POSIX_FADV_SEQUENTIAL, os.POSIX_FADV_RANDOM, os.POSIX_FADV_NOREUSE,
               os.POSIX_FADV_DONTNEED, os.POSIX_FADV_WILLNEED, os.POSIX_FADV_NORMAL):
    os.posix_fadvise(fd, 0, 0, advice)
    assert os.pread(fd, size + 1, 0) == content
call("readahead", fd, ctypes.c_longlong(0), ctypes.c_size_t(size))
assert os.pread(fd, size + 1, 0) == content
# Of files in the image, whose file system has no device, the kernel takes no advice.
if size <= 64:
    sys.exit()

# What is not needed leaves the page cache: a mapping that nobody looked at has nothing there.
page = os.sysconf("SC_PAGE_SIZE")
length, pages = ctypes.c_size_t(size), (size + page - 1) // page
at = call("mmap", ctypes.c_void_p(0), length, 1, 1, fd, ctypes.c_long(0), result=ctypes.c_void_p)
def cached():
    resident = (ctypes.c_ubyte * pages)()
    call("mincore", ctypes.c_void_p(at), length, resident)
    return sum(byte & 1 for byte in resident)
assert cached() == pages, cached()
os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
assert cached() == 0, cached()
