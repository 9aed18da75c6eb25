# SPDX-License-Identifier: GPL-2.0-only
# What statx says of O_DIRECT.

fd = os.open(argument[0], os.O_RDONLY)
for length in (3 << 20, 2 << 20, 3 << 20):
    at = call("mmap", ctypes.c_void_p(0), ctypes.c_size_t(length), 1, 2, fd, ctypes.c_long(0),
              result=ctypes.c_void_p)
    print("aligned" if at % (2 << 20) == 0 else "not aligned")
