# SPDX-License-Identifier: GPL-2.0-only

fd = os.open(argument[0], os.O_RDONLY)
def map_executable():
    call("mmap", ctypes.c_void_p(0), ctypes.c_size_t(4096), 5, 2, fd, ctypes.c_long(0),
         result=ctypes.c_void_p)
fails(errno.EPERM, map_executable)
