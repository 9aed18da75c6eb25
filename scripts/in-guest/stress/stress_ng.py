# SPDX-License-Identifier: GPL-2.0-only
"""stress-ng's file system stressors: on an overlay, and those that only read on composefs itself."""

import os
import re
import shutil
import subprocess

import guest
import odd_tree
from guest import Outcome

# Of the class, what does nothing in the directory that it is given.
ELSEWHERE = {"binderfs", "eventfd", "ioprio", "procfs", "rofs", "statmount"}

# An operation of these is a file of a gigabyte, thousands of names, or the like.
LESS = {
    "chdir": "--chdir-dirs 64",
    "copy-file": "--copy-file-bytes 128m",
    "dentry": "--dentries 128",
    "dir": "--dir-dirs 128",
    "dirdeep": "--dirdeep-inodes 400",
    "fallocate": "--fallocate-bytes 4m",
    "fiemap": "--fiemap-bytes 4m",
    "filehole": "--filehole-bytes 4m",
    "fpunch": "--fpunch-bytes 4m",
    "hdd": "--hdd-bytes 4m",
    "iomix": "--iomix-bytes 4m",
    "metamix": "--metamix-bytes 128k",
    "open": "--open-max 256",
    "sync-file": "--sync-file-bytes 4m",
}

# What looks at files that are there, and how many operations it is to do. Other than the first two,
# they look for them where systems have them, so the image is their root.
READERS = {
    "rofs": ("--rofs-dir /files", 200),
    "fstat": ("--fstat-dir /files", 2),
    "getdent": ("", 1000),
    "mmapfiles": ("", 500),
    "dynlib": ("", 500),
    "exec": ("", 60),
    "sysinfo": ("", 500),
}
# It does not run as root.
AS_USER = {"exec": ["--userspec=1000:1000"]}

# All others: operations of two workers, and after how many seconds they end in any case.
OPERATIONS, SECONDS = 100, 20


def stress(name, options, temporary, operations=OPERATIONS, before=()):
    """Runs one stressor."""
    words = [*before, "stress-ng", f"--{name}", "2", f"--{name}-ops", str(operations),
             "--timeout", str(SECONDS), "--verify", "--seed", "1", "--temp-path", temporary,
             "--metrics-brief", *options.split()]
    outcome = guest.attempt(words)
    counted = [line for line in outcome.said if re.search(rf"metrc:.*\b{name}\s+\d+", line)]
    if counted:
        print(f"# {name}: {' '.join(counted[0].split()[3:6])}")
    wrong = [line for line in outcome.said if " fail: " in line]
    if outcome.state == "failed" or wrong:
        why = wrong[0].partition("] ")[2] if wrong else outcome.why
        return Outcome("failed", why, outcome.said)
    skipped = [line for line in outcome.said if re.search(r"skipped: [1-9]", line)]
    if skipped:
        reasons = [line for line in outcome.said if re.search(r"skipping|not (supp|impl)", line)]
        reasons = reasons or skipped
        return Outcome("skipped", reasons[0].partition("] ")[2], outcome.said)
    return outcome


def filesystem_class():
    """The names of the stressors of that class."""
    done = subprocess.run(["stress-ng", "--class", "filesystem?"], check=False, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    return done.stdout.partition("stressors:")[2].split()


def overlay():
    """All that writes, in a directory that comes from the lower layer."""
    tree = "/scratch/tree"
    odd_tree.make(tree)
    os.mkdir(f"{tree}/files/here")
    part = guest.Part(guest.Layer("stressed", tree))
    for stressor in filesystem_class():
        if stressor not in ELSEWHERE:
            options = LESS.get(stressor, "")
            part.on_overlay(stressor, lambda merged, stressor=stressor, options=options:
                            stress(stressor, options, f"{merged}/files/here"))
    return part.end()


def put_program(tree):
    """stress-ng, and what it is linked with."""
    program = f"{guest.SUITE}/usr/bin/stress-ng"
    linked = subprocess.check_output(["ldd", program], text=True)
    os.makedirs(f"{tree}/usr/lib/x86_64-linux-gnu")
    os.makedirs(f"{tree}/usr/lib64")
    os.makedirs(f"{tree}/usr/bin")
    shutil.copy(program, f"{tree}/usr/bin")
    for library in re.findall(r"/\S+\.so\S*", linked):
        to = "lib64" if "ld-linux" in library else "lib/x86_64-linux-gnu"
        shutil.copy(library, f"{tree}/usr/{to}")
    for name in ("bin", "lib", "lib64"):
        os.symlink(f"usr/{name}", f"{tree}/{name}")
    for name in ("dev", "etc", "proc", "run", "sys", "tmp"):
        os.mkdir(f"{tree}/{name}")


def composefs():
    """Those that only read, run from the image."""
    tree = "/scratch/system"
    odd_tree.make(tree)
    put_program(tree)
    layer = guest.Layer("system", tree)
    part = guest.Part(layer)

    def on(ours, stressor):
        root = "/merged"
        guest.run("mount", "--bind", layer.composefs if ours else layer.erofs, root)
        guest.run("mount", "-t", "tmpfs", "tmpfs", f"{root}/tmp")
        guest.run("mount", "--rbind", "/dev", f"{root}/dev")
        guest.run("mount", "--make-rslave", f"{root}/dev")
        guest.run("mount", "-t", "proc", "proc", f"{root}/proc")
        guest.run("mount", "-t", "sysfs", "sysfs", f"{root}/sys")
        guest.drop_caches()
        try:
            options, operations = READERS[stressor]
            chroot = ["chroot", *AS_USER.get(stressor, []), root]
            return stress(stressor, options, "/tmp", operations, chroot)
        finally:
            for below in ("sys", "proc", "tmp"):
                guest.unmount(f"{root}/{below}")
            guest.run("umount", "-R", f"{root}/dev")
            guest.unmount(root)

    for stressor in READERS:
        part.beside(stressor, lambda ours, stressor=stressor: on(ours, stressor))
    return part.end()
