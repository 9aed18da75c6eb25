# SPDX-License-Identifier: GPL-2.0-only

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
