# SPDX-License-Identifier: GPL-2.0-only
# Whether a file, the second argument, has a handle, and whether that can be opened on
# the mount, the first.
root, path = argument
handle = ctypes.create_string_buffer(struct.pack("Ii", 128, 0), 8 + 128)
mount = ctypes.c_int()
try:
    call("name_to_handle_at", -100, path.encode(), handle, ctypes.byref(mount), 0)
    where = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    opened = call("open_by_handle_at", where, handle, os.O_RDONLY)
    same = os.fstat(opened).st_ino == os.stat(path).st_ino
    print("a handle, which can be opened" if same else "a handle of another file")
except OSError as error:
    # Python has another name for it.
    print("`EOPNOTSUPP`" if error.errno == errno.EOPNOTSUPP else error)
