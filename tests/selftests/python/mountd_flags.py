# SPDX-License-Identifier: GPL-2.0-only
# The user of a mount takes its flags away. Arguments: an image with devices, its store, its signature
# or "-", where to mount.

image, store, signature, target = argument[1:]
signature = None if signature == "-" else read_only(signature)
mount = granted(ask(read_only(image), [read_only(store)], become_root(), signature))
clear(mount, NOSUID | NODEV)
try:
    clear(mount, RDONLY)
except OSError as error:
    assert error.errno in (errno.EPERM, errno.EROFS), error
attach(mount, target)
assert not os.statvfs(target).f_flag & os.ST_NODEV
for name in os.listdir(target + "/devices"):
    for flags in os.O_RDONLY, os.O_RDWR:
        fails(errno.EACCES, os.open, target + "/devices/" + name, flags)
fails(errno.EROFS, open, target + "/new", "w")
