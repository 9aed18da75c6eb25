# SPDX-License-Identifier: GPL-2.0-only

*good, bad, forged = map(int, argument)
for attempt in range(2):
    open("/proc/sys/vm/drop_caches", "w").write("3")
    assert not decodes(bad) and not decodes(forged)
    assert all(map(decodes, good)), list(map(decodes, good))
fails(errno.EIO, os.listdir, os.path.join(root, "wide"))
