# SPDX-License-Identifier: GPL-2.0-only

direct = os.open(path, os.O_RDONLY | os.O_DIRECT)
for opened, flags in ((fd, 0), (fd, ASYNC), (direct, 0), (direct, ASYNC)):
    for is_cold in (True, False):
        if is_cold:
            cold()
        for start in range(0, size + 1, 64 * 7001):
            pieces = {}
            for offset in range(start, min(size + 1, start + 64 * 7001), 7001):
                buffer = ctypes.create_string_buffer(b"\xee" * 7001, 7001)
                pieces[offset] = buffer
                ring.queue(offset, READ, opened, ctypes.addressof(buffer), 7001, offset, flags)
            for offset, result in ring.run().items():
                wanted = expected(offset, 7001)
                assert result == len(wanted), (offset, result, len(wanted))
                assert pieces[offset].raw == wanted + b"\xee" * (7001 - len(wanted)), offset
buffer = ctypes.create_string_buffer(10)
ring.queue(1, READ, fd, ctypes.addressof(buffer), 10, size)
ring.queue(2, READ, fd, ctypes.addressof(buffer), 10, size + 100000)
assert ring.run() == {1: 0, 2: 0}
# At the position of the file, one after the other.
parts = [ctypes.create_string_buffer(50) for _ in range(3)]
for number, part in enumerate(parts):
    ring.queue(number, READ, fd, ctypes.addressof(part), 50, 2**64 - 1, LINK if number < 2 else 0)
results = ring.run()
seen = b"".join(part.raw[:max(0, results[number])] for number, part in enumerate(parts))
# A read that is short breaks the chain.
assert seen == content[:len(seen)] and (len(seen) == 150 or len(seen) == size), results
assert os.lseek(fd, 0, os.SEEK_CUR) == len(seen)
