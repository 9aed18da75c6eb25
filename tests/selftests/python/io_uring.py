# SPDX-License-Identifier: GPL-2.0-only
# A ring of io_uring.

READV, READ_FIXED, FADVISE, READ, SPLICE = 1, 4, 24, 22, 30
FIXED_FILE, LINK, ASYNC = 1, 4, 16

class Ring:
    def __init__(self, entries):
        parameters = ctypes.create_string_buffer(120)
        self.fd = call("syscall", ctypes.c_long(425), ctypes.c_long(entries), parameters)
        self.entries, completions = struct.unpack_from("II", parameters, 0)
        sq = struct.unpack_from("8I", parameters, 40)
        cq = struct.unpack_from("8I", parameters, 80)
        self.sq_tail, self.sq_mask, self.sq_array = sq[1], sq[2], sq[6]
        self.cq_head, self.cq_tail, self.cq_mask, self.cqes = cq[0], cq[1], cq[2], cq[5]
        def map(length, offset):
            return mmap.mmap(self.fd, length, offset=offset)
        self.sq = map(self.sq_array + 4 * self.entries, 0)
        self.cq = map(self.cqes + 16 * completions, 0x8000000)
        self.sqes = map(64 * self.entries, 0x10000000)
        self.queued, self.kept = 0, []

    def word(self, ring, offset, value=None):
        if value is not None:
            struct.pack_into("I", ring, offset, value & 0xffffffff)
        return struct.unpack_from("I", ring, offset)[0]

    def queue(self, number, opcode, fd, address, length, offset=0, flags=0, buffer=0, rw=0, extra=0):
        tail = self.word(self.sq, self.sq_tail)
        index = tail & self.word(self.sq, self.sq_mask)
        struct.pack_into("<BBHiQQIIQHHiQQ", self.sqes, 64 * index, opcode, flags, 0, fd, offset,
                         address, length, rw, number, buffer, 0, extra, 0, 0)
        self.word(self.sq, self.sq_array + 4 * index, index)
        self.word(self.sq, self.sq_tail, tail + 1)
        self.queued += 1

    # Submits what is queued, waits for all of it: {number: result}.
    def run(self):
        results, wanted = {}, self.queued
        call("syscall", ctypes.c_long(426), ctypes.c_long(self.fd), ctypes.c_long(wanted),
             ctypes.c_long(wanted), ctypes.c_long(1), ctypes.c_void_p(0), ctypes.c_long(0))
        self.queued = 0
        head = self.word(self.cq, self.cq_head)
        while head != self.word(self.cq, self.cq_tail):
            index = head & self.word(self.cq, self.cq_mask)
            number, result, _ = struct.unpack_from("<QiI", self.cq, self.cqes + 16 * index)
            results[number] = result
            head = (head + 1) & 0xffffffff
        self.word(self.cq, self.cq_head, head)
        assert len(results) == wanted, (len(results), wanted)
        return results

    def register(self, what, argument, count):
        call("syscall", ctypes.c_long(427), ctypes.c_long(self.fd), ctypes.c_long(what), argument,
             ctypes.c_long(count))
