# SPDX-License-Identifier: GPL-2.0-only
# Mounts an image as a user, and looks at it from within. Arguments: image, store, signature or "-",
# target, digest or "-".

image, store, signature, target, digest = argument[1:]
uid = os.getuid()
more = {} if digest == "-" else {"digest": digest}
signature = None if signature == "-" else read_only(signature)
image, store = read_only(image), read_only(store, os.O_DIRECTORY)
mount = granted(ask(image, [store], become_root(), signature, **more))

# Where this process was, there is no mount: it is for who attaches it.
attach(mount, target)
flags = os.statvfs(target).f_flag
expected = os.ST_RDONLY | os.ST_NOSUID | os.ST_NODEV
assert flags & expected == expected, flags
with open("/proc/self/mountinfo") as file:
    lines = [line for line in file if " - composefs " in line]
assert len(lines) == 1 and ",idmapped" in lines[0], lines

status = os.stat(target + "/mine")
print("owner", status.st_uid, status.st_gid)
print("other", os.stat(target + "/other").st_uid)
with open(target + "/mine") as file:
    assert file.read() == "m" * 8192
fails(errno.EROFS, open, target + "/new", "w")
fails(errno.EROFS, os.chmod, target + "/mine", 0o600)
fails(errno.EACCES, open, target + "/device")
print("xattrs", *sorted(os.listxattr(target + "/mine")))

# A program runs, but with no more rights than its caller's, whatever its bits say.
said = os.popen("setpriv --dump " + "2>/dev/null; " + target + "/id -u").read().split()[-1]
assert said == "0", said
with open(target + "/id", "rb") as file:
    assert os.fstat(file.fileno()).st_mode & 0o4000
