# SPDX-License-Identifier: GPL-2.0-only

for is_cold in (True, False):
    if is_cold:
        cold()
    for offset in (0, 1, 4095, 60000):
        lengths = (1, 4096, 5, 0, 100000)
        buffers = [ctypes.create_string_buffer(max(1, length)) for length in lengths]
        vector = (ctypes.c_uint64 * 10)()
        for index, (buffer, length) in enumerate(zip(buffers, lengths)):
            vector[2 * index], vector[2 * index + 1] = ctypes.addressof(buffer), length
        ring.queue(7, READV, fd, ctypes.addressof(vector), 5, offset)
        result = ring.run()[7]
        wanted = expected(offset, sum(lengths))
        assert result == len(wanted), (offset, result, len(wanted))
        seen = b"".join(buffer.raw[:length] for buffer, length in zip(buffers, lengths))
        assert seen[:result] == wanted, offset
