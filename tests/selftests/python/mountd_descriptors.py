# SPDX-License-Identifier: GPL-2.0-only
# Descriptors that are not what they should be. Arguments: an image of the caller's own, its store, a
# directory of the caller's, a file that the caller may not read, and the directory that it is in.

image, store, mine, secret, around = argument[1:]
ours, stores, good = namespace(), [read_only(store)], read_only(image)
os.close(granted(ask(good, stores, ours)))

def about(result, parameter, reason=""):
    refused(result, "InvalidFile", reason)

def bad_image(fd, reason=""):
    refused(ask(fd, stores, ours), "InvalidFile", reason)

# Who may only find a file, or write to it, has not shown that they may read it.
fails(errno.EACCES, read_only, secret)
bad_image(os.open(secret, os.O_PATH), "not open for reading")
bad_image(os.open(image, os.O_PATH), "not open for reading")
copy = mine + "/copy"
with open(image, "rb") as file, open(copy, "wb") as to:
    to.write(file.read())
bad_image(os.open(copy, os.O_RDWR), "not open for reading")
bad_image(os.open(copy, os.O_WRONLY), "not open for reading")
for fd in (
    read_only(mine), read_only("/dev/null"), os.pipe()[0], socket.socket(socket.AF_UNIX).fileno(),
    os.eventfd(0), os.pidfd_open(os.getpid()), stores[0],
):
    bad_image(fd)
for directory in os.open(store, os.O_PATH), good, os.pipe()[0], ours:
    refused(ask(good, [directory], ours), "InvalidFile")

# Files in memory are as good as others, sealed or not: what is granted is a copy.
memory = os.memfd_create("image", os.MFD_ALLOW_SEALING)
with open(image, "rb") as file:
    os.write(memory, file.read())
bad_image(memory, "not open for reading")
again = read_only("/proc/self/fd/%d" % memory)
os.close(granted(ask(again, stores, ours)))
fcntl.fcntl(memory, fcntl.F_ADD_SEALS, 15)
os.close(granted(ask(again, stores, ours)))
os.ftruncate(os.open(copy, os.O_WRONLY), 100)
refused(ask(read_only(copy), stores, ours), "InvalidImage")
refused(ask(read_only("/usr/bin/id"), stores, ours), "InvalidImage")
refused(ask(ours, stores, ours), "InvalidImage")
refused(ask(read_only("/proc/self/maps"), stores, ours), "InvalidImage")
large = os.memfd_create("large")
os.ftruncate(large, 1 << 40)
refused(ask(read_only("/proc/self/fd/%d" % large), stores, ours), "InvalidImage", "larger than")

# Places that nothing was sent for.
for place in 9, 1 << 31, 1 << 62:
    for name in "imageFileDescriptor", "userNamespaceFileDescriptor", "signatureFileDescriptor":
        refused(ask(good, stores, ours, **{name: place}), "InvalidFile", str(place))
    refused(ask(good, stores, ours, basedirFileDescriptors=[place]), "InvalidFile", str(place))
for place in -1, 1 << 65, "0", None, 0.5:
    result = ask(good, stores, ours, imageFileDescriptor=place)
    refused(result, "org.varlink.service.InvalidParameter")

# A store that leads to what the caller may not read gives nothing of it.
mount = granted(ask(good, [read_only(around), *stores], ours))
os.close(mount)
