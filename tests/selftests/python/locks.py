# SPDX-License-Identifier: GPL-2.0-only
# Leases and locks of a file.

path, size = argument[0], int(argument[1])
first, second = os.open(path, os.O_RDONLY), os.open(path, os.O_RDONLY)
F_OFD_SETLK = 37
def lock(kind, start=0, length=10):
    return struct.pack("hhqqi4x", kind, 0, start, length, 0)
fcntl.fcntl(first, F_OFD_SETLK, lock(fcntl.F_RDLCK))
fcntl.fcntl(second, F_OFD_SETLK, lock(fcntl.F_RDLCK, 5))
fails(errno.EBADF, fcntl.fcntl, first, F_OFD_SETLK, lock(fcntl.F_WRLCK))
fcntl.fcntl(first, F_OFD_SETLK, lock(fcntl.F_UNLCK, 0, 0))
fcntl.fcntl(second, F_OFD_SETLK, lock(fcntl.F_UNLCK, 0, 0))
# POSIX locks: another process meets it.
fcntl.lockf(first, fcntl.LOCK_SH | fcntl.LOCK_NB)
child = os.fork()
if child == 0:
    lock = struct.pack("hhqqi4x", fcntl.F_WRLCK, 0, 0, 0, 0)
    kind, _, _, _, owner = struct.unpack("hhqqi4x", fcntl.fcntl(second, fcntl.F_GETLK, lock))
    os._exit(0 if kind == fcntl.F_RDLCK and owner == os.getppid() else 1)
assert os.waitpid(child, 0)[1] == 0, "the lock is not seen"
# A read lease is given, as nobody can write; a write lease is not, as others have it open.
fcntl.fcntl(first, fcntl.F_SETLEASE, fcntl.F_RDLCK)
assert fcntl.fcntl(first, fcntl.F_GETLEASE) == fcntl.F_RDLCK
fcntl.fcntl(first, fcntl.F_SETLEASE, fcntl.F_UNLCK)
assert fcntl.fcntl(first, fcntl.F_GETLEASE) == fcntl.F_UNLCK
