# SPDX-License-Identifier: GPL-2.0-only

cold()
ring.queue(1, FADVISE, fd, 0, size, 0, rw=os.POSIX_FADV_WILLNEED)
assert ring.run()[1] == 0
out, into = os.pipe()
offset, seen = 0, b""
while True:
    # The offset into the pipe is none; that into the file is in the place of the address.
    ring.queue(2, SPLICE, into, offset, 8192, 2**64 - 1, extra=fd)
    result = ring.run()[2]
    assert result >= 0, result
    if result == 0:
        break
    offset += result
    seen += os.read(out, result)
assert seen == content, len(seen)
