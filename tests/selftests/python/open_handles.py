# SPDX-License-Identifier: GPL-2.0-only
# Opens the handles that make_handles.py has made.

root, source, expected = argument
import stat
mount = os.open(root, os.O_RDONLY)
stale = opened = 0
for line in open(source).read().splitlines():
    kind, data, inode, mode, path = line.split()
    inode, mode, path = int(inode), int(mode), bytes.fromhex(path)
    data = bytes.fromhex(data)
    handle = Handle(bytes=len(data), type=int(kind))
    ctypes.memmove(handle.data, data, len(data))
    try:
        fd = call("open_by_handle_at", mount, ctypes.byref(handle), os.O_PATH | os.O_NOFOLLOW)
    except OSError as error:
        assert error.errno == errno.ESTALE, error
        stale += 1
        continue
    opened += 1
    seen = os.fstat(fd)
    if expected == "same":
        assert (seen.st_ino, seen.st_mode) == (inode, mode), path
        link = os.readlink("/proc/self/fd/%d" % fd)
        if stat.S_ISDIR(mode):
            assert os.fsencode(link) == path, (link, path)
    os.close(fd)
    if expected == "same" and stat.S_ISREG(mode):
        fd = call("open_by_handle_at", mount, ctypes.byref(handle), os.O_RDONLY)
        assert os.pread(fd, 1 << 23, 0) == open(path, "rb").read(), path
        os.close(fd)
    if expected == "same" and stat.S_ISDIR(mode):
        fd = call("open_by_handle_at", mount, ctypes.byref(handle), os.O_RDONLY)
        assert sorted(map(os.fsencode, os.listdir(fd))) == sorted(os.listdir(path)), path
        assert os.stat("..", dir_fd=fd).st_ino == os.stat(os.path.join(path, b"..")).st_ino \
            or os.path.samefile(path, root)
        os.close(fd)
print(opened, stale)
