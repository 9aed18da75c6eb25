# SPDX-License-Identifier: GPL-2.0-only
# Deduplicates a file again and again.

import fcntl, os, random, struct, sys
source, target = (os.open(path, os.O_RDONLY) for path in sys.argv[1:])
blocks = os.fstat(target).st_size // 4096
chance = random.Random(0)
for _ in range(3000):
    length = chance.randrange(1, 17)
    at = chance.randrange(blocks - length) * 4096
    request = struct.pack("QQHHI" "qQQiI", at, length * 4096, 1, 0, 0, target, at, 0, 0, 0)
    answer = struct.unpack("QQHHI" "qQQiI", fcntl.ioctl(source, 0xc0189436, request))
    assert answer[8] == 0 and answer[7] == length * 4096, answer
