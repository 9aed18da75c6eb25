# SPDX-License-Identifier: GPL-2.0-only
# The attributes of a file by all calls that tell them.

fd = os.open(argument[0], os.O_RDONLY)
flags = bytearray(8)
fcntl.ioctl(fd, 0x80086601, flags)
print("verity" if struct.unpack("I", flags[:4])[0] & 0x100000 else "no verity")
request = bytearray(struct.pack("HH", 0, 64) + bytes(64))
try:
    fcntl.ioctl(fd, 0xC0046686, request)
    algorithm, length = struct.unpack("HH", request[:4])
    print(algorithm, request[4:4 + length].hex())
except OSError as error:
    print(errno.errorcode[error.errno])
