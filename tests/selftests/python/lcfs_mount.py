# SPDX-License-Identifier: GPL-2.0-only
# Mounts an image by libcomposefs.so.1: prints "mounted", or the name of the error.
import errno, json

library, image, target, options = argument
options = json.loads(options)


class Options(ctypes.Structure):
    _fields_ = [("objdirs", ctypes.POINTER(ctypes.c_char_p)), ("n_objdirs", ctypes.c_size_t),
                ("workdir", ctypes.c_char_p), ("upperdir", ctypes.c_char_p),
                ("digest", ctypes.c_char_p), ("flags", ctypes.c_uint32), ("idmap_fd", ctypes.c_int),
                ("image_mountdir", ctypes.c_char_p), ("reserved", ctypes.c_uint32 * 4),
                ("reserved2", ctypes.c_void_p * 4)]


lcfs = ctypes.CDLL(library, use_errno=True)
dirs = [name.encode() for name in options.pop("objdirs")]
wanted = Options(objdirs=(ctypes.c_char_p * len(dirs))(*dirs), n_objdirs=len(dirs))
if "idmap" in options:
    wanted.idmap_fd = os.open(options.pop("idmap"), os.O_RDONLY)
by_fd = options.pop("by_fd", False)
for key, value in options.items():
    setattr(wanted, key, value if isinstance(value, int) else value.encode())
if by_fd:
    fd = os.open(image, os.O_RDONLY)
    result = lcfs.lcfs_mount_fd(fd, target.encode(), ctypes.byref(wanted))
else:
    result = lcfs.lcfs_mount_image(image.encode(), target.encode(), ctypes.byref(wanted))
print("mounted" if result == 0 else errno.errorcode[ctypes.get_errno()])
