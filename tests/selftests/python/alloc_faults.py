# SPDX-License-Identifier: GPL-2.0-only
# Reads a tree in all ways while allocations fail.

root, = argument
path = os.path.join(root, "external-4097")
counter = open("/proc/thread-self/fail-nth", "r+b", buffering=0)
def set_counter(number):
    os.pwrite(counter.fileno(), b"%d" % number, 0)
def has_failed():
    left = os.pread(counter.fileno(), 16, 0).rstrip(b"\0\n")
    set_counter(0)
    return left == b"0"
def each(name, prepare, operation, undo, may_survive=False):
    failed = survived = 0
    for number in range(1, 5000):
        prepared = prepare()
        set_counter(number)
        result = operation(prepared)
        error = ctypes.get_errno()
        if not has_failed():
            assert result != -1, "%s: %s" % (name, os.strerror(error))
            undo(prepared, result)
            assert failed or may_survive and survived, name + ": no allocation made it fail"
            print("%s: %d failed, %d went well all the same" % (name, failed, survived))
            return
        if result == -1:
            assert error == errno.ENOMEM, "%s, %d: %s" % (name, number, os.strerror(error))
            failed += 1
            result = operation(prepared)
            assert result != -1, name + " again"
        else:
            survived += 1
        undo(prepared, result)
    raise AssertionError(name + ": no end")

libc.mmap.restype = ctypes.c_long
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
libc.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
def unmap(fd, address):
    libc.munmap(address, 8192)
    os.close(fd)
each("mmap", lambda: os.open(path, os.O_RDONLY),
     lambda fd: libc.mmap(None, 8192, mmap.PROT_READ, mmap.MAP_PRIVATE, fd, 0), unmap)

MADV_POPULATE_READ = 22
def map_cold():
    open("/proc/sys/vm/drop_caches", "w").write("1")
    fd = os.open(path, os.O_RDONLY)
    return fd, libc.mmap(None, 8192, mmap.PROT_READ, mmap.MAP_PRIVATE, fd, 0)
each("page fault", map_cold, lambda mapped: libc.madvise(mapped[1], 8192, MADV_POPULATE_READ),
     lambda mapped, _: unmap(*mapped), may_survive=True)

name, number = os.fsencode(path), ctypes.c_int()
def make(handle):
    handle.bytes = 128
    return libc.name_to_handle_at(-100, name, ctypes.byref(handle), ctypes.byref(number), 0)
each("name_to_handle_at", lambda: Handle(), make, lambda handle, result: None)
mount, handle = os.open(root, os.O_RDONLY), Handle()
assert make(handle) == 0
def cold():
    open("/proc/sys/vm/drop_caches", "w").write("2")
each("open_by_handle_at", cold,
     lambda _: libc.open_by_handle_at(mount, ctypes.byref(handle), os.O_RDONLY),
     lambda _, fd: os.close(fd))
