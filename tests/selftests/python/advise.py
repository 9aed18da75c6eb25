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
