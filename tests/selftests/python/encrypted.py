# SPDX-License-Identifier: GPL-2.0-only
# Files that are encrypted by fscrypt. Behind python.rs's prelude.
#
# argument: "protect" and a directory, which gets a key and a policy;
#           "lock" or "unlock" and a directory on the filesystem: takes or gives the key.
ADD_KEY, REMOVE_KEY, SET_POLICY = 0xC0506617, 0xC0406618, 0x800C6613
KEY = bytes(range(64))

what, directory = argument
fd = os.open(directory, os.O_RDONLY)


def add_key():
    request = bytearray(struct.pack("II32sII32s", 2, 0, b"", len(KEY), 0, b"") + KEY)
    fcntl.ioctl(fd, ADD_KEY, request)
    return bytes(request[8:24])


if what == "protect":
    identifier = add_key()
    # Version 2; AES-256-XTS, names AES-256-CBC-CTS.
    fcntl.ioctl(fd, SET_POLICY, struct.pack("BBBBB3s16s", 2, 1, 4, 0, 0, b"", identifier))
elif what == "unlock":
    add_key()
else:
    request = bytearray(struct.pack("II32sI20s", 2, 0, add_key() + bytes(16), 0, b""))
    fcntl.ioctl(fd, REMOVE_KEY, request)
    assert struct.unpack_from("I", request, 40)[0] == 0, "files are still in use"
