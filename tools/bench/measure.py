# SPDX-License-Identifier: GPL-2.0-only
"""What commands cost, with all processes that they start."""

import ctypes
import os
import subprocess
import sys
import tempfile
import threading
import time

PR_SET_CHILD_SUBREAPER = 36
# Looking costs time itself.
LOOKS_PER_SECOND = 5


def children_of():
    """The children of every process."""
    children = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat") as stat:
                    parent = int(stat.read().rpartition(") ")[2].split()[1])
            except OSError:
                continue
            children.setdefault(parent, []).append(int(name))
    return children


def memory_of_tree(top):
    """What a process and all below it have in memory, each page counted once; in bytes."""
    children, total, left = children_of(), 0, [top]
    while left:
        pid = left.pop()
        left += children.get(pid, [])
        try:
            with open(f"/proc/{pid}/smaps_rollup") as rollup:
                total += sum(int(line.split()[1]) << 10 for line in rollup if line.startswith("Pss:"))
        except OSError:
            continue
    return total


class Watch(threading.Thread):
    """Notes the most that a process and all below it have in memory at once."""

    def __init__(self, top):
        super().__init__(daemon=True)
        self.top, self.most, self.ended = top, 0, threading.Event()

    def run(self):
        while not self.ended.wait(1 / LOOKS_PER_SECOND):
            self.most = max(self.most, memory_of_tree(self.top))


def own_children():
    """The children of this process; from now on also those that their parents leave."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    return set(children_of().get(os.getpid(), []))


def reap(others):
    """Waits for the children of this process that are not among `others`; what each of them used."""
    usages = []
    while own_children() - others:
        pid, _, usage = os.wait4(-1, os.WNOHANG)
        if pid:
            usages.append(usage)
        else:
            time.sleep(0.01)
    return usages


def measure(command, environment=None):
    """Runs a command; what it costs: wall and CPU time in seconds, memory in bytes."""
    # What the run before left to be written is not for this one to wait for.
    os.sync()
    others = own_children()
    with tempfile.TemporaryFile("w+") as said, tempfile.NamedTemporaryFile("r") as peak:
        # A child's peak begins with that of the process it was forked from, and this one is larger
        # than some tools are: GNU time, which is tiny, stands in between.
        measured = ["/usr/bin/time", "-q", "-f", "%M", "-o", peak.name, *map(str, command)]
        began = time.monotonic()
        child = subprocess.Popen(measured, stdin=subprocess.DEVNULL, stdout=said, stderr=said, env=environment)
        watch = Watch(child.pid)
        watch.start()
        _, status, usage = os.wait4(child.pid, 0)
        wall = time.monotonic() - began
        child.returncode = os.waitstatus_to_exitcode(status)
        usages = [usage, *reap(others)]
        watch.ended.set()
        watch.join()
        if child.returncode != 0:
            said.seek(0)
            sys.exit(f"{' '.join(measured[6:])}: status {child.returncode}: {said.read()}")
        largest = max([int(peak.read()), *(usage.ru_maxrss for usage in usages[1:])]) << 10
    return {
        "wall": wall,
        "cpu": sum(usage.ru_utime + usage.ru_stime for usage in usages),
        "rss": largest,
        "tree": max(watch.most, largest),
    }


def let_inodes_go():
    """Waits until what was removed no longer slows down who makes files.

    ext4 without a journal takes no inode again that was free for less than a minute, and looks at each.
    """
    os.sync()
    time.sleep(65)


def blocks(directory):
    """The bytes on the disk that what is below a directory takes, itself as well."""
    seen, total = set(), 0
    left = [directory]
    while left:
        path = left.pop()
        status = os.lstat(path)
        if (status.st_dev, status.st_ino) in seen:
            continue
        seen.add((status.st_dev, status.st_ino))
        total += status.st_blocks * 512
        if os.path.isdir(path) and not os.path.islink(path):
            left += (entry.path for entry in os.scandir(path))
    return total
