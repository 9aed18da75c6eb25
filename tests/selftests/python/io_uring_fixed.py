# SPDX-License-Identifier: GPL-2.0-only

buffers = [mmap.mmap(-1, 256 << 10) for _ in range(4)]
addresses = [ctypes.addressof(ctypes.c_char.from_buffer(buffer)) for buffer in buffers]
vector = (ctypes.c_uint64 * 8)()
for index, address in enumerate(addresses):
    vector[2 * index], vector[2 * index + 1] = address, 256 << 10
ring.register(0, vector, 4)
ring.register(2, (ctypes.c_int * 1)(fd), 1)
for is_cold in (True, False):
    if is_cold:
        cold()
    for start in range(0, size + 1, 4 * 131072):
        for index in range(4):
            # Not aligned in memory, the last one not in the file either.
            offset = start + index * 131072 + (1 if index == 3 else 0)
            ring.queue(index, READ_FIXED, 0, addresses[index] + 77, 131072, offset, FIXED_FILE,
                       buffer=index)
        for index, result in ring.run().items():
            wanted = expected(start + index * 131072 + (1 if index == 3 else 0), 131072)
            assert result == len(wanted), (start, index, result, len(wanted))
            assert buffers[index][77:77 + result] == wanted, (start, index)
# Outside of the registered buffer.
ring.queue(1, READ_FIXED, fd, addresses[0] - 4096, 10, 0, buffer=0)
assert ring.run()[1] == -errno.EFAULT
os.close(fd)
ring.queue(1, READ_FIXED, 0, addresses[0], 64, 0, FIXED_FILE)
result = ring.run()[1]
assert result == min(size, 64), result
