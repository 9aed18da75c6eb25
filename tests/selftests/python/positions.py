# SPDX-License-Identifier: GPL-2.0-only
# Goes back and forth in a directory.

path, count = argument[0], int(argument[1])
class Entry(ctypes.Structure):
    _fields_ = [("ino", ctypes.c_uint64), ("off", ctypes.c_int64), ("reclen", ctypes.c_ushort),
                ("type", ctypes.c_ubyte), ("name", ctypes.c_char * 256)]
pointer = ctypes.c_void_p
directory = pointer(call("opendir", os.fsencode(path), result=pointer))
libc.readdir.restype = ctypes.POINTER(Entry)
def next():
    entry = libc.readdir(directory)
    return entry.contents.name if entry else None
positions, names = [], []
while True:
    position = call("telldir", directory)
    name = next()
    if name is None:
        break
    positions.append(position)
    names.append(name)
assert len(set(names)) == len(names) == count + 2, len(names)
assert len(set(positions)) == len(positions), "positions are used twice"
end = call("telldir", directory)
import random
random.seed(1)
for index in [0, 1, 2, count + 1] + random.sample(range(count), 300):
    libc.seekdir(directory, ctypes.c_long(positions[index]))
    assert next() == names[index], index
    if index + 1 < len(names):
        assert next() == names[index + 1], index
open("/proc/sys/vm/drop_caches", "w").write("3")
for index in random.sample(range(count), 20):
    libc.seekdir(directory, ctypes.c_long(positions[index]))
    assert next() == names[index], index
libc.seekdir(directory, ctypes.c_long(end))
assert next() is None
libc.rewinddir(directory)
assert next() == names[0]
