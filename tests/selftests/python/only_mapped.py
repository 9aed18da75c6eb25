# SPDX-License-Identifier: GPL-2.0-only
# A mapping, and nothing else of the file.

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
