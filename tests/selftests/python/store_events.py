# SPDX-License-Identifier: GPL-2.0-only
# What a fanotify listener on a store is asked, and what it holds up. Behind python.rs's prelude.
#
# argument: the case, the file in the mount, its object, and what the case wants beyond.
import select, signal, time

OPEN_PERM, ACCESS_PERM, EXEC_PERM, PRE_ACCESS = 0x10000, 0x20000, 0x40000, 0x100000
NAMES = {OPEN_PERM: "OPEN_PERM", ACCESS_PERM: "ACCESS_PERM", EXEC_PERM: "OPEN_EXEC_PERM",
         PRE_ACCESS: "PRE_ACCESS"}
CONTENT, PRE_CONTENT, CLOEXEC, FILESYSTEM = 4, 8, 1, 0x100
ALLOW, DENY = 1, 2
PATIENCE = 20

case, path, stored = argument[:3]
size = os.stat(path).st_size


class Listener:
    """Listens on whole filesystems, those of `paths`."""

    def __init__(self, mask, *paths, kind=CONTENT, flags=os.O_RDONLY):
        self.fd = call("fanotify_init", kind | CLOEXEC, flags | os.O_LARGEFILE)
        for name in paths:
            call("fanotify_mark", self.fd, 1 | FILESYSTEM, ctypes.c_uint64(mask), -100,
                 name.encode())

    def serve(self, pid, answer):
        """Answers what is asked until process `pid` ends; returns its status, and what was asked
        about the object."""
        asked, ends = [], time.monotonic() + PATIENCE
        while True:
            if select.select([self.fd], [], [], 0.05)[0]:
                for mask, opened in self.events():
                    of_object = os.fstat(opened).st_ino == os.stat(stored).st_ino \
                        and os.fstat(opened).st_dev == os.stat(stored).st_dev
                    if of_object:
                        asked += [name for bit, name in NAMES.items() if mask & bit]
                    reply = answer(opened, mask, of_object)
                    os.write(self.fd, struct.pack("iI", opened, reply))
                    os.close(opened)
                continue
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                return os.waitstatus_to_exitcode(status), asked
            if time.monotonic() > ends:
                os.close(self.fd)
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
                raise AssertionError("hangs; asked so far: %s" % asked)

    def events(self):
        data = os.read(self.fd, 65536)
        while data:
            length, _, _, _, mask, opened, _ = struct.unpack_from("IBBHQii", data)
            yield mask, opened
            data = data[length:]


def map_file(fd, execute=False):
    protection = mmap.PROT_READ | (mmap.PROT_EXEC if execute else 0)
    at = call("mmap", ctypes.c_void_p(0), ctypes.c_size_t(size), protection, mmap.MAP_PRIVATE, fd,
              ctypes.c_long(0), result=ctypes.c_void_p)
    return ctypes.string_at(at, size)


def read_file(fd):
    return os.pread(fd, size + 1, 0)


WAYS = {"read": read_file, "mmap": map_file}


def in_child(function):
    """Its exit status is what the function returns, or 100 + errno."""
    pid = os.fork()
    if pid == 0:
        try:
            status = function()
        except OSError as error:
            status = 100 + error.errno
        os._exit(status or 0)
    return pid


def ends(pid, what):
    start = time.monotonic()
    while time.monotonic() < start + PATIENCE:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.02)
    os.kill(pid, signal.SIGKILL)
    raise AssertionError(what + " hangs")


def opened_before():
    """Who comes between open and mmap, and does not answer, holds up nobody."""
    fd = os.open(path, os.O_RDONLY)
    expected = read_file(fd)
    listener = Listener(OPEN_PERM | ACCESS_PERM, stored)
    try:
        mapper = in_child(lambda: 0 if map_file(fd, True) == expected else 1)
        time.sleep(0.5)
        reader = in_child(lambda: 0 if os.pread(os.open("/proc/%d/cmdline" % mapper, 0), 9, 0) else 1)
        status = ends(reader, "/proc/PID/cmdline"), ends(mapper, "mmap")
        assert status[1] == 0, status
        assert not select.select([listener.fd], [], [], 0)[0], "the listener was asked"
    finally:
        os.close(listener.fd)


def asked():
    """What is asked of an open and what is done then."""
    content = open(path, "rb").read()
    for way in argument[3:]:
        listener = Listener(OPEN_PERM | ACCESS_PERM | EXEC_PERM, stored)

        def use():
            if way == "exec":
                os.execv(path, [path])
            return 0 if WAYS[way](os.open(path, os.O_RDONLY)) == content else 1
        status, events = listener.serve(in_child(use), lambda *_: ALLOW)
        os.close(listener.fd)
        assert status == 0, (way, status)
        print(way, *events)


def refused():
    """What it refuses cannot be had, whichever way."""
    for way in argument[3:]:
        listener = Listener(OPEN_PERM | ACCESS_PERM, stored)
        status, events = listener.serve(
            in_child(lambda: WAYS[way](os.open(path, os.O_RDONLY)) and 0),
            lambda opened, mask, of_object: DENY if of_object else ALLOW)
        os.close(listener.fd)
        assert status == 100 + errno.EPERM, (way, status, events)


def filled():
    """A file of holes that is filled by who watches it for that."""
    with open(argument[3], "rb") as whole:
        content = whole.read()

    # The object is seen through a mount that is read-only, so this is not done by the event's
    # descriptor; and one that is opened later would ask for the content, too.
    stub = os.open(stored, os.O_RDWR)

    def fill(opened, mask, of_object):
        if of_object:
            os.pwrite(stub, content, 0)
        return ALLOW
    for way in argument[4:]:
        os.truncate(stub, 0)
        os.truncate(stub, len(content))
        listener = Listener(PRE_ACCESS, stored, kind=PRE_CONTENT)

        def use():
            return 0 if WAYS[way](os.open(path, os.O_RDONLY)) == content else 1
        status, events = listener.serve(in_child(use), fill)
        os.close(listener.fd)
        assert events and status == 0, "%s: status %d, asked: %s" % (way, status, events)


def looks_itself():
    """One task that watches mount and store, and reads what it is asked about."""
    content = open(path, "rb").read()
    listener = Listener(OPEN_PERM | ACCESS_PERM, stored, path)

    def look(opened, mask, of_object):
        return ALLOW if os.pread(opened, size + 1, 0) == content else DENY
    for way in WAYS:
        def use():
            return 0 if WAYS[way](os.open(path, os.O_RDONLY)) == content else 1
        status, events = listener.serve(in_child(use), look)
        assert status == 0, (way, status, events)


{"opened before": opened_before, "asked": asked, "refused": refused, "filled": filled,
 "looks itself": looks_itself}[case]()
