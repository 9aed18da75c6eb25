# SPDX-License-Identifier: GPL-2.0-only
# User namespaces that are not the caller's. Arguments: an image, its store. What root has on stdin is
# one of another user's, with whose owners nothing may be shown.

image, stores = read_only(argument[1]), [read_only(argument[2])]
os.close(granted(ask(image, stores, namespace())))

def not_mine(fd, name="NotPermitted"):
    refused(ask(image, stores, fd), name)

not_mine(0)
not_mine(read_only("/proc/self/ns/user"))
for other in "net", "mnt", "pid", "ipc", "uts", "cgroup", "time":
    result = ask(image, stores, read_only("/proc/self/ns/" + other))
    assert isinstance(result, str), other
for fd in image, stores[0], os.pipe()[0], os.open("/proc/self/ns/user", os.O_PATH):
    assert isinstance(ask(image, stores, fd), str)
# Nobody in it is anybody.
assert isinstance(ask(image, stores, namespace(maps=False)), str)

# One within one's own is one's own.
inside = become_root()
os.close(granted(ask(image, stores, inside)))
os.close(granted(ask(image, stores, namespace())))
