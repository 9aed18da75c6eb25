# SPDX-License-Identifier: GPL-2.0-only

file, directory = map(int, argument)
CONNECTABLE = 0x10000
for numbers in [file], [directory], [file, directory], [file, 36], [directory, 36]:
    for flags in 0, CONNECTABLE:
        assert not decodes(*numbers, flags=flags), (numbers, flags)
assert decodes(36)
link = os.lstat(os.path.join(root, "linked/file")).st_ino
parent = os.lstat(os.path.join(root, "linked")).st_ino
null = os.lstat(os.path.join(root, "linked/null")).st_ino
for other in parent, directory, file, link, null, 36:
    # The parent in the handle is asked for only if the file has no dentry with one.
    open("/proc/sys/vm/drop_caches", "w").write("3")
    assert decodes(link, other, flags=CONNECTABLE) == (other == parent), other
