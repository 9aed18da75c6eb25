# SPDX-License-Identifier: GPL-2.0-only
# Maps a file and its object.

path, store = argument
fd = os.open(path, os.O_RDONLY)
read, mapped = os.read(fd, 2 << 20), mmap.mmap(fd, 0, prot=mmap.PROT_READ)
assert mapped[:] == read
answer = fcntl.ioctl(fd, 0xc0046686, struct.pack("HH", 0, 32) + bytes(32))
digest = answer[4:].hex()
assert os.path.exists(os.path.join(store, digest[:2], digest[2:])), digest
