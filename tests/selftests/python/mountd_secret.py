# SPDX-License-Identifier: GPL-2.0-only
# An object that the caller may not read is not read for them. Arguments: an image, its store, where
# to mount, and the name of the file.

image, store, target, name = argument[1:]
mount = granted(ask(read_only(image), [read_only(store)], become_root()))
attach(mount, target)
fails(errno.EACCES, open, target + "/" + name)
with open(target + "/other") as file:
    assert file.read() == "o" * 8192
