# SPDX-License-Identifier: GPL-2.0-only
# Prints the UUID of a filesystem in hexadecimal. Behind python.rs's prelude.
#
# argument: a directory of it.
GET_UUID = 0x80111500

answer = bytearray(17)
fcntl.ioctl(os.open(argument[0], os.O_RDONLY), GET_UUID, answer)
assert answer[0] == 16, "%d bytes" % answer[0]
print(answer[1:].hex())
