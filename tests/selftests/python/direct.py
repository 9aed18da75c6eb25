# SPDX-License-Identifier: GPL-2.0-only
# Reads with O_DIRECT.

path, size = argument[0], int(argument[1])
content = open(path, "rb").read()
fd = os.open(path, os.O_RDONLY | os.O_DIRECT)
buffer = mmap.mmap(-1, 2 << 20)
for offset in (0, 1, 4096):
    seen = os.preadv(fd, [buffer], offset)
    assert buffer[:seen] == content[offset:], "%d bytes of %d at %d" % (seen, size, offset)
assert os.preadv(fd, [buffer], 0, os.RWF_NOWAIT) == size
plain = os.open(path, os.O_RDONLY)
fcntl.fcntl(plain, fcntl.F_SETFL, os.O_DIRECT)
assert os.read(plain, size + 1) == content
