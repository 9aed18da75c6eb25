# SPDX-License-Identifier: GPL-2.0-only
# Watches a file and its object.

path, size = argument[0], int(argument[1])
FAN_OPEN, FAN_OPEN_PERM, FAN_REPORT_FID = 0x20, 0x10000, 0x200
def mark(fd, mask, flags):
    call("fanotify_mark", fd, 1 | flags, ctypes.c_uint64(mask), -100, path.encode())
# By file handle, of the filesystem.
fd = call("fanotify_init", 2 | FAN_REPORT_FID, os.O_RDONLY)
mark(fd, FAN_OPEN, 0x100)
open(path, "rb").close()
event = os.read(fd, 4096)
assert struct.unpack("IBBHQ", event[:16])[4] & FAN_OPEN, event
handle_bytes, handle_type = struct.unpack("Ii", event[24 + 12:24 + 20])
assert handle_bytes > 0 and handle_type > 0, (handle_bytes, handle_type)
os.close(fd)
# By permission, of the file.
fd = call("fanotify_init", 4, os.O_RDONLY)
mark(fd, FAN_OPEN_PERM, 0)
child = os.fork()
if child == 0:
    try:
        os.open(path, os.O_RDONLY)
    except PermissionError:
        os._exit(7)
    os._exit(1)
event = os.read(fd, 4096)
length, version, _, metadata, mask, opened, pid = struct.unpack("IBBHQii", event[:24])
assert pid == child and mask & FAN_OPEN_PERM
assert os.readlink("/proc/self/fd/%d" % opened) == path
assert os.read(opened, size + 1).__len__() == size
os.write(fd, struct.pack("iI", opened, 2))
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
