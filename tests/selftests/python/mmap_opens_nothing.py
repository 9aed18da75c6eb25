# SPDX-License-Identifier: GPL-2.0-only
# Behind tracefs.py.

fd, size = os.open(argument[0], os.O_RDONLY), int(argument[1])
with Event("kprobes", "p:%s security_file_open") as event:
    event.write("events/kprobes/composefs_test/filter", "common_pid == %d" % os.getpid())
    event.enable()
    for protection in (1, 5):
        call("mmap", ctypes.c_void_p(0), ctypes.c_size_t(max(size, 1)), protection, 2, fd,
             ctypes.c_long(0), result=ctypes.c_void_p)
    hits = event.hits()
    assert not hits, hits
    event.enable()
    os.close(os.open(argument[0], os.O_RDONLY))
    assert event.hits(), "opening a file does not show"
