# SPDX-License-Identifier: GPL-2.0-only
# Prints which blocks of 4096 bytes of each file are in memory, as profiles have it. Unlike a read that
# does not wait, to ask so brings nothing there.

per_page = mmap.PAGESIZE // 4096
for path in argument:
    fd = os.open(path, os.O_RDONLY)
    size = os.fstat(fd).st_size
    mapped = mmap.mmap(fd, size, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ | mmap.PROT_WRITE)
    start = ctypes.c_char.from_buffer(mapped)
    pages = (ctypes.c_ubyte * -(-size // mmap.PAGESIZE))()
    call("mincore", ctypes.c_void_p(ctypes.addressof(start)), ctypes.c_size_t(size), pages)
    os.close(fd)
    ranges = []
    for page, state in enumerate(pages):
        if not state & 1:
            continue
        first, end = page * per_page, (page + 1) * per_page
        if ranges and ranges[-1][1] == first:
            ranges[-1][1] = end
        else:
            ranges.append([first, end])
    print(*(str(first) if end - first == 1 else "%d-%d" % (first, end - 1) for first, end in ranges))
