# SPDX-License-Identifier: GPL-2.0-only
# Makes a handle for each file of a tree.

root, target = argument
lines = []
def add(path):
    handle, mount = Handle(bytes=128), ctypes.c_int()
    call("name_to_handle_at", -100, os.fsencode(path), ctypes.byref(handle), ctypes.byref(mount), 0)
    stat = os.lstat(path)
    data = bytes(handle.data[:handle.bytes]).hex()
    lines.append("%d %s %d %d %s" % (handle.type, data, stat.st_ino, stat.st_mode, os.fsencode(path).hex()))
add(root)
for parent, directories, files in os.walk(root):
    for name in directories + files:
        add(os.path.join(parent, name))
# Too small a buffer: what it would take.
handle, mount = Handle(bytes=0), ctypes.c_int()
fails(errno.EOVERFLOW, call, "name_to_handle_at", -100, os.fsencode(root), ctypes.byref(handle),
      ctypes.byref(mount), 0)
assert handle.bytes >= 8, handle.bytes
assert len(set(line.split()[1] for line in lines)) == len(set(line.split()[2] for line in lines))
open(target, "w").write("\n".join(lines))
print(len(lines))
