# SPDX-License-Identifier: GPL-2.0-only
# Looks for holes and data.

path, size = argument[0], int(argument[1])
fd = os.open(path, os.O_RDONLY)
content = os.pread(fd, size + 1, 0)
position = 0
while position < size:
    try:
        data = os.lseek(fd, position, os.SEEK_DATA)
    except OSError as error:
        assert error.errno == errno.ENXIO, error
        data = size
    assert not any(content[position:data]), "data in the hole %d..%d" % (position, data)
    if data == size:
        break
    assert os.lseek(fd, 0, os.SEEK_CUR) == data
    position = os.lseek(fd, data, os.SEEK_HOLE)
    assert data < position <= size, (data, position)
fails(errno.ENXIO, os.lseek, fd, size, os.SEEK_DATA)
fails(errno.ENXIO, os.lseek, fd, size + 5, os.SEEK_HOLE)
fails(errno.EINVAL, os.lseek, fd, -1, os.SEEK_SET)
if size:
    assert os.lseek(fd, size - 1, os.SEEK_HOLE) == size
assert os.lseek(fd, -size, os.SEEK_END) == 0
