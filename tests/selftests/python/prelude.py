# SPDX-License-Identifier: GPL-2.0-only
# What the other scripts have at hand.

import ctypes, errno, fcntl, mmap, os, struct, sys
libc = ctypes.CDLL(None, use_errno=True)

def call(name, *arguments, result=ctypes.c_long):
    function = getattr(libc, name)
    function.restype = result
    value = function(*arguments)
    if value == -1 or (result is ctypes.c_void_p and value == 2**64 - 1):
        number = ctypes.get_errno()
        raise OSError(number, name + ": " + os.strerror(number))
    return value

def fails(number, function, *arguments):
    try:
        value = function(*arguments)
    except OSError as error:
        assert error.errno == number, "%s, expected %s" % (error, errno.errorcode[number])
    else:
        raise AssertionError("%r, expected %s" % (value, errno.errorcode[number]))

# The kernel's struct file_handle, with room for the largest.
class Handle(ctypes.Structure):
    _fields_ = [("bytes", ctypes.c_uint), ("type", ctypes.c_int), ("data", ctypes.c_ubyte * 128)]

# Numbers of system calls on which machines do not agree.
if os.uname().machine == "x86_64":
    GETDENTS64, PERF_EVENT_OPEN, USERFAULTFD = 217, 298, 323
else:
    GETDENTS64, PERF_EVENT_OPEN, USERFAULTFD = 61, 241, 282

argument = sys.argv[1:]
