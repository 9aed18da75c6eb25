# SPDX-License-Identifier: GPL-2.0-only
# Changes an image on tmpfs while the driver looks at it.

import select, subprocess, threading
image, target = argument
data = open(image, "rb").read()
fd = os.open(image, os.O_RDWR)
address = call("mmap", None, ctypes.c_long(len(data)), 3, mmap.MAP_SHARED, fd, ctypes.c_long(0),
               result=ctypes.c_void_p)
ring = Ring(4)
ring.register(0, (ctypes.c_uint64 * 2)(address, len(data)), 1)
call("munmap", ctypes.c_void_p(address), ctypes.c_long(len(data)))
os.close(fd)
subprocess.run(["mount", "-i", "-t", "composefs", image, target], check=True)

# Memory whose second page is there only when this program says so.
page = mmap.PAGESIZE
memory = call("mmap", None, ctypes.c_long(2 * page), 3, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, -1,
              ctypes.c_long(0), result=ctypes.c_void_p)
faults = call("syscall", ctypes.c_long(USERFAULTFD), ctypes.c_long(os.O_CLOEXEC))
fcntl.ioctl(faults, 0xc018aa3f, struct.pack("QQQ", 0xaa, 0, 0))
fcntl.ioctl(faults, 0xc020aa00, struct.pack("QQQQ", memory + page, page, 1, 0))
ctypes.memset(memory, 0, page)
start, room = memory + page - 1024, 1024 + page

# Where in the directory each name is, and what follows it.
directory = os.open(target, os.O_RDONLY | os.O_DIRECTORY)
def getdents(address, room):
    length = call("syscall", ctypes.c_long(GETDENTS64), ctypes.c_long(directory),
                  ctypes.c_void_p(address), ctypes.c_long(room))
    entries, read = [], ctypes.string_at(address, length)
    while read:
        after, record = struct.unpack_from("QH", read, 8)
        entries.append((read[19:record].split(b"\0")[0], after))
        read = read[record:]
    return entries
buffer, entries = ctypes.create_string_buffer(4096), []
while more := getdents(ctypes.addressof(buffer), 4096):
    entries += more

# A block with some hundred names in it, of which the second half does not fit in the first page.
names = [name for name, _ in entries]
block = {name: data.index(name) // 4096 for name in names if name.startswith(b"entry")}
inside = [name for name in block if list(block.values()).count(block[name]) > 100]
inside = [name for name in inside if block[name] == block[inside[0]]]
first = names.index(inside[0])
os.lseek(directory, entries[first - 1][1], os.SEEK_SET)
result = []
reader = threading.Thread(target=lambda: result.extend(getdents(start, room)), daemon=True)
reader.start()
assert select.select([faults], [], [], 60)[0], "readdir did not touch the second page"
os.read(faults, 32)
changed, at = inside[60], data.index(inside[60])
other = os.memfd_create("other")
os.write(other, changed[:-1] + b"_")
ring.queue(1, READ_FIXED, other, address + at, len(changed), buffer=0)
assert ring.run() == {1: len(changed)}
assert open(image, "rb").read()[at:at + len(changed)] == changed[:-1] + b"_"
fcntl.ioctl(faults, 0xc020aa04, struct.pack("QQQq", memory + page, page, 0, 0))
reader.join()
os.close(directory)
subprocess.run(["umount", target], check=True)
read = [name for name, _ in result]
assert len(read) > 62 and read[:len(inside)] == inside[:len(read)], read
