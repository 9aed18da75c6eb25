# SPDX-License-Identifier: GPL-2.0-only
# Opens handles that it is asked for, line by line.

import random
def open_handle(mount, handle):
    fd = libc.open_by_handle_at(mount, ctypes.byref(handle), os.O_PATH)
    if fd >= 0:
        try:
            os.fstat(fd)
            os.readlink("/proc/self/fd/%d" % fd)
        except OSError:
            pass
        os.close(fd)
for line in sys.stdin:
    seed, root = line.rstrip("\n").split(" ", 1)
    chance = random.Random(int(seed))
    fd = os.open(root, os.O_RDONLY)
    try:
        names = os.listdir(root)[:12]
    except OSError:
        names = []
    count = 0
    for name in ["."] + names:
        handle, number = Handle(bytes=128), ctypes.c_int()
        path = os.fsencode(os.path.join(root, name))
        if libc.name_to_handle_at(-100, path, ctypes.byref(handle), ctypes.byref(number), 0) == 0:
            count += 1
            open_handle(fd, handle)
            # Connected to a parent, as an NFS server asks for it.
            handle.type = 0x82
            handle.data[12:24] = bytes(handle.data[:12])
            handle.bytes = 24
            open_handle(fd, handle)
    for _ in range(12):
        number = chance.choice([chance.getrandbits(8), chance.getrandbits(12), chance.getrandbits(64)])
        data = (number >> 32).to_bytes(4, "little") + (number & 0xffffffff).to_bytes(4, "little") + bytes(4)
        handle = Handle(bytes=12, type=0x81)
        ctypes.memmove(handle.data, data, 12)
        open_handle(fd, handle)
    os.close(fd)
    print(count, flush=True)
