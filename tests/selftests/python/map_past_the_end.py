# SPDX-License-Identifier: GPL-2.0-only
# Pages behind the end of a file give SIGBUS.

import signal
path, size = argument[0], int(argument[1])
fd = os.open(path, os.O_RDONLY)
page = mmap.PAGESIZE
pages = (size + page - 1) // page * page
at = call("mmap", ctypes.c_void_p(0), ctypes.c_size_t(pages + page), 1, 1, fd, ctypes.c_long(0),
          result=ctypes.c_void_p)
child = os.fork()
if child == 0:
    ctypes.string_at(at + pages, 1)
    os._exit(0)
status = os.waitpid(child, 0)[1]
assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGBUS, status
