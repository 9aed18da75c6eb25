# SPDX-License-Identifier: GPL-2.0-only
# Opens handles of a mount that are made here.

root, *argument = argument
mount = os.open(root, os.O_RDONLY)
def decode(*numbers, flags=0):
    data = b"".join(struct.pack("<III", number >> 32, number & 0xffffffff, 0) for number in numbers)
    handle = Handle(bytes=len(data), type=0x80 + len(numbers) | flags)
    ctypes.memmove(handle.data, data, len(data))
    return call("open_by_handle_at", mount, ctypes.byref(handle), os.O_PATH | os.O_NOFOLLOW)
def decodes(*numbers, **named):
    try:
        fd = decode(*numbers, **named)
    except OSError as error:
        assert error.errno == errno.ESTALE, error
        return False
    assert os.fstat(fd).st_ino == numbers[0]
    os.close(fd)
    return True
def numbers():
    found = {os.stat(root).st_ino}
    for parent, directories, files in os.walk(root):
        for name in directories + files:
            found.add(os.lstat(os.path.join(parent, name)).st_ino)
    return found
