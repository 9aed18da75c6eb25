# SPDX-License-Identifier: GPL-2.0-only
# What FS_IOC_MEASURE_VERITY says of a file.

fd = os.open(argument[0], os.O_RDONLY)
flags = bytearray(8)
fcntl.ioctl(fd, 0x80086601, flags)
for target in (fd, os.open(argument[0] + "/external-4097", os.O_RDONLY)):
    for request, size in ((0x40086602, 8), (0x40806685, 128), (0x401C5820, 28)):
        try:
            fcntl.ioctl(target, request, bytearray(size))
        except OSError as error:
            assert error.errno in (errno.EROFS, errno.EPERM, errno.ENOTTY, errno.EOPNOTSUPP,
                                   errno.EINVAL), (hex(request), error)
        else:
            raise AssertionError("ioctl %#x worked" % request)
