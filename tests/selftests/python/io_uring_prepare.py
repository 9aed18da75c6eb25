# SPDX-License-Identifier: GPL-2.0-only

path, source = argument
def cold():
    os.sync()
    open("/proc/sys/vm/drop_caches", "w").write("3")

# How much each piece of a read must give, as its offset says.
def expected(offset, length):
    return content[offset:offset + length]

content = open(source, "rb").read()
size = len(content)
fd = os.open(path, os.O_RDONLY)
ring = Ring(64)
