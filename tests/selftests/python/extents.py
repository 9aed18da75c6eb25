# SPDX-License-Identifier: GPL-2.0-only
# What FIEMAP says of a file.

fd = os.open(argument[0], os.O_RDONLY)
request = bytearray(struct.pack("=QQIIII", 0, 2**64 - 1, 0, 0, 64, 0) + bytes(64 * 56))
try:
    fcntl.ioctl(fd, 0xC020660B, request)
except OSError as error:
    print("not supported" if error.errno == errno.EOPNOTSUPP else error)
else:
    count = struct.unpack_from("=QQIIII", request)[3]
    for index in range(count):
        print(*struct.unpack_from("=QQQQQI", request, 32 + 56 * index))
