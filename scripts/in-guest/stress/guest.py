# SPDX-License-Identifier: GPL-2.0-only
"""What all parts of `run` beside this share: layers, overlays, the kernel's log, and TAP."""

import collections
import contextlib
import errno
import hashlib
import itertools
import os
import re
import shutil
import stat
import subprocess
import time

BIN = "/opt/composefs/bin"
SUITE = "/suite"
# The file system of upper layers.
UPPER = "/upper"
# Longer than any attempt takes where all is well, in seconds.
LIMIT = 900

# What the kernel says if something is wrong; of composefs, anything.
COMPLAINT = re.compile(r"BUG|WARNING|Oops|INFO: |general protection|refcount_t|\bcomposefs: |"
                       r"EXT4-fs (error|warning)|I/O error")


def run(*words, **more):
    """Runs a program, which has to succeed."""
    subprocess.run(words, check=True, **more)


def prepare():
    """Brings up the disks, and what there is of programs."""
    run("insmod", "/opt/composefs/composefs.ko")
    run("modprobe", "loop")
    for directory in (SUITE, UPPER, "/layers", "/merged"):
        os.makedirs(directory, exist_ok=True)
    run("mount", "-o", "ro", "LABEL=stress", SUITE)
    with open("/etc/ld.so.conf.d/suite.conf", "w", encoding="utf-8") as file:
        file.write("".join(f"{SUITE}/usr/lib/x86_64-linux-gnu{below}\n" for below in ("", "/ceph")))
    run("ldconfig")
    os.environ["PATH"] += f":{SUITE}/usr/bin"
    run("mkfs.ext4", "-q", "-b", "4096", "/dev/vdc")
    run("mount", "/dev/vdc", UPPER)


def drop_caches():
    """What is read next comes from disks."""
    os.sync()
    with open("/proc/sys/vm/drop_caches", "w", encoding="ascii") as file:
        file.write("3")


def fingerprint(top):
    """All of a tree: what stat, attributes and content are, by path."""
    found = {}

    def add(path):
        at = os.path.join(top, path)
        status = os.lstat(at)
        values = [oct(status.st_mode), status.st_uid, status.st_gid, status.st_nlink,
                  status.st_rdev, status.st_mtime_ns]
        values += [(name, os.getxattr(at, name, follow_symlinks=False))
                   for name in sorted(os.listxattr(at, follow_symlinks=False))]
        if stat.S_ISREG(status.st_mode):
            with open(at, "rb") as file:
                values += [status.st_size, hashlib.file_digest(file, "sha256").hexdigest()]
        elif stat.S_ISLNK(status.st_mode):
            values.append(os.readlink(at))
        found[path] = values

    add("")
    # An error is no empty directory.
    def fail(error):
        raise error
    for directory, directories, files in os.walk(top, onerror=fail):
        for name in directories + files:
            add(os.path.relpath(os.path.join(directory, name), top))
    return found


class Layer:
    """A tree, sealed and mounted as composefs and as EROFS; the tree itself is then gone."""

    def __init__(self, name, tree):
        place = f"/scratch/layers/{name}"
        os.makedirs(f"{place}/objects")
        self.expected = fingerprint(tree)
        self.composefs, self.erofs = f"/layers/{name}.composefs", f"/layers/{name}.erofs"
        os.makedirs(self.composefs)
        os.makedirs(self.erofs)
        image = f"{place}/image"
        digest = subprocess.check_output(
            [f"{BIN}/mkcomposefs", "--hardlinks", f"--digest-store={place}/objects",
             "--print-digest", "--enable-verity", tree, image], text=True).strip()
        run("mount", "-i", "-t", "composefs", "-o", f"basedir={place}/objects,digest={digest}",
            image, self.composefs)
        run("mkfs.erofs", "--quiet", f"{place}/erofs", tree)
        run("mount", "-t", "erofs", "-o", "loop,ro", f"{place}/erofs", self.erofs)
        shutil.rmtree(tree)

    def differences(self):
        """How what is mounted differs from what was sealed."""
        try:
            found = fingerprint(self.composefs)
        except OSError as error:
            return [f"the mount cannot be read: {error}"]
        return [f"{path or '/'}: {differing(self.expected.get(path, []), found.get(path, []))}"
                for path in sorted(found.keys() | self.expected.keys())
                if found.get(path) != self.expected.get(path)]


def differing(was, now):
    """Which of the values of one path are others."""
    pairs = itertools.zip_longest(was, now)
    return ", ".join(f"was {old}, is {new}" for old, new in pairs if old != new)


@contextlib.contextmanager
def overlay(lower):
    """An overlay on a layer that was mounted, with a new upper one."""
    for name in ("layer", "work"):
        let_go(f"{UPPER}/{name}")
        run("rm", "-rf", f"{UPPER}/{name}")
        os.makedirs(f"{UPPER}/{name}")
    run("mount", "-t", "overlay", "-o",
        f"lowerdir={lower},upperdir={UPPER}/layer,workdir={UPPER}/work", "overlay", "/merged")
    try:
        yield "/merged"
    finally:
        unmount("/merged")


def let_go(tree):
    """What a test has made immutable can be removed then."""
    subprocess.run(["chattr", "-R", "-f", "-i", "-a", tree], check=False,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def unmount(place):
    """Unmounts what others' programs may still be leaving."""
    for _ in range(50):
        done = subprocess.run(["umount", place], check=False, capture_output=True, text=True)
        if done.returncode == 0:
            return
        time.sleep(0.2)
    raise OSError(errno.EBUSY, done.stderr.strip())


class Log:
    """The kernel's log, from now on."""

    def __init__(self):
        self.file = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK)
        os.lseek(self.file, 0, os.SEEK_END)

    def complaints(self):
        """What it says since the last time and should not."""
        found = []
        while True:
            try:
                record = os.read(self.file, 8192).decode(errors="replace")
            except BlockingIOError:
                return found
            except BrokenPipeError:
                # Some of it was overwritten.
                continue
            text = record.partition(";")[2].split("\n")[0]
            if COMPLAINT.search(text):
                found.append("kernel: " + text)


# What came of an attempt: passed, failed or skipped; why, in few words; what was said; and which of
# its points failed, if it has some.
Outcome = collections.namedtuple("Outcome", "state why said points",
                                 defaults=("", (), frozenset()))


def attempt(words, cwd=None):
    """Runs a program that passes if it ends with 0; what it says comes with it."""
    try:
        done = subprocess.run(words, cwd=cwd, check=False, stdin=subprocess.DEVNULL, timeout=LIMIT,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    except subprocess.TimeoutExpired as error:
        said = (error.stdout or b"").decode(errors="replace").splitlines()
        return Outcome("failed", f"took more than {LIMIT} s", said)
    said = done.stdout.decode(errors="replace").splitlines()
    if done.returncode == 0:
        return Outcome("passed", "", said)
    return Outcome("failed", f"status {done.returncode}", said)


class Part:
    """One part: points, each on composefs, and on the control if that is not enough to tell."""

    def __init__(self, layer):
        self.layer, self.log = layer, Log()
        self.points = self.failed = 0

    def point(self, name, outcome):
        """Prints a point, and why it is not ok; and looks at the mount and the log."""
        wrong = self.log.complaints() + self.layer.differences()
        self.points += 1
        if outcome.state == "failed" or wrong:
            self.failed += 1
            print(f"not ok {self.points} {name}")
            for line in [outcome.why or "it passed", *wrong[:5], *list(outcome.said)[-20:]]:
                print("#", line[:300])
        elif outcome.state == "skipped":
            print(f"ok {self.points} {name} # SKIP {outcome.why}")
            for line in list(outcome.said)[-8:]:
                print("#", line[:300])
        else:
            print(f"ok {self.points} {name}")
        print(end="", flush=True)

    def beside(self, name, on):
        """A point: on(True) is what came out with composefs, on(False) with the control."""
        ours = on(True)
        if ours.state != "passed":
            control = on(False)
            worse = ["passed", "skipped", "failed"].index
            if worse(control.state) >= worse(ours.state) and ours.points <= control.points:
                why = f"{control.state} on the control too: {control.why or ours.why}"
                ours = Outcome("skipped", why, ours.said)
            else:
                why = f"{ours.state}, but not on the control: {ours.why}"
                ours = Outcome("failed", why, ours.said)
        self.point(name, ours)

    def on_overlay(self, name, do):
        """The same, where do(DIRECTORY) is done on an overlay."""
        def on(ours):
            with overlay(self.layer.composefs if ours else self.layer.erofs) as merged:
                return do(merged)
        self.beside(name, on)

    def end(self):
        """Looks at all once more, as it is on the disk; whether nothing failed."""
        drop_caches()
        self.point("what is on the disk is as it was", Outcome("passed"))
        print(f"1..{self.points}")
        return self.failed == 0
