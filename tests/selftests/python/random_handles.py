# SPDX-License-Identifier: GPL-2.0-only
# Makes file handles and opens them, in any way. Asked for line by line: a number that all chance comes
# from, and a path in hexadecimal. Answers whether the call succeeded.
#
# arguments: mounts of the same image, in which a handle stands for the same file

import random, stat

KEPT_MAX = 64
FOLLOW, EMPTY_PATH, FID, UNIQUE, CONNECTABLE = 0x400, 0x1000, 0x200, 1, 2


def some(chance, bits):
    return sum(bit for bit in bits if chance.randrange(4) == 0)


def make(chance, path):
    handle, mount = Handle(bytes=chance.choice([128, 128, 128, 24, 12, 11, 0, 129])), ctypes.c_uint64()
    flags = some(chance, [FOLLOW, EMPTY_PATH, FID, UNIQUE, CONNECTABLE])
    call("name_to_handle_at", -100, path, ctypes.byref(handle), ctypes.byref(mount), flags)
    status = (os.stat if flags & FOLLOW else os.lstat)(path)
    # A symlink may lead elsewhere.
    if status.st_dev not in devices:
        return
    if len(kept) >= KEPT_MAX:
        kept.pop(chance.randrange(KEPT_MAX))
    kept.append((bytes(handle), status.st_ino))


def damage(chance, handle):
    what = chance.randrange(4)
    if what == 0:
        handle.bytes = chance.choice([0, 4, 8, 11, 12, 20, 24, 127, 128, 129])
    elif what == 1:
        handle.type = chance.choice([0, 1, 2, 0x81, 0x82, 0xff, 0x10081, 0x20081, 0x40081, -1])
    else:
        for _ in range(what):
            handle.data[chance.randrange(24)] = chance.choice([0, 1, 0xff, chance.randrange(256)])


def use(fd, chance):
    kind = stat.S_IFMT(os.fstat(fd).st_mode)
    if kind == stat.S_IFREG:
        os.pread(fd, chance.choice([1, 100, 70000]), chance.choice([0, 1, 4096, 1 << 40]))
    elif kind == stat.S_IFDIR:
        os.listdir(fd)
        # On the way up, what was not connected to a parent is.
        os.close(os.open("..", os.O_RDONLY, dir_fd=fd))
    os.listxattr("/proc/self/fd/%d" % fd)
    os.readlink("/proc/self/fd/%d" % fd)


def open_one(chance):
    data, number = chance.choice(kept)
    handle = Handle.from_buffer_copy(data)
    is_as_made = chance.randrange(3) != 0
    if not is_as_made:
        damage(chance, handle)
    access = chance.choice([os.O_RDONLY, os.O_RDONLY, os.O_PATH, os.O_RDWR])
    # Nobody waits for the other end of a FIFO.
    flags = access | os.O_NONBLOCK | some(chance, [os.O_DIRECTORY, os.O_NOFOLLOW, os.O_NOATIME, os.O_TRUNC])
    fd = call("open_by_handle_at", chance.choice(mounts), ctypes.byref(handle), flags)
    try:
        status = os.fstat(fd)
        is_file = stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)
        assert not is_as_made or status.st_ino == number, (status, number)
        assert access != os.O_RDWR or not is_file, "can be written: %s" % status
        if is_file and access == os.O_RDONLY:
            use(fd, chance)
    finally:
        os.close(fd)


mounts, kept = [os.open(root, os.O_RDONLY) for root in argument], []
devices = [os.fstat(mount).st_dev for mount in mounts]
for line in sys.stdin:
    number, path = line.rstrip("\n").split(" ")
    chance = random.Random(int(number))
    try:
        if kept and chance.randrange(3) != 0:
            open_one(chance)
        else:
            make(chance, bytes.fromhex(path))
    except OSError:
        print(0, flush=True)
    else:
        print(1, flush=True)
