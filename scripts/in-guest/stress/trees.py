# SPDX-License-Identifier: GPL-2.0-only
"""Suites that come as a tree: fsx and fsstress of xfstests, pjdfstest, LTP."""

import glob
import os
import re

import guest
import odd_tree
from guest import Outcome

XFSTESTS = f"{guest.SUITE}/xfstests"
PJDFSTEST = f"{guest.SUITE}/pjdfstest"
LTP = f"{guest.SUITE}/ltp"


def fsx():
    """A file that is read, written, mapped and cut at random, beside what it should be."""
    tree = "/scratch/fsx"
    os.makedirs(tree)
    for file, size in (("small", 8 << 10), ("large", 256 << 10)):
        with open(f"{tree}/{file}", "wb") as out:
            out.write(os.urandom(size))
    part = guest.Part(guest.Layer("fsx-lower", tree))
    # Blocks of 512 bytes are what O_DIRECT takes.
    kinds = {
        "as it is": "",
        "no mappings": "-R -W",
        "O_DIRECT": "-Z -r 4096 -w 4096 -t 4096 -R -W",
        "libaio": "-A",
        "io_uring": "-U",
        "the file is closed now and then": "-c 50",
    }
    for how, options in kinds.items():
        for file in ("new", "small", "large"):
            # One that is there stays as large as it is: else fsx begins with an empty one.
            kept = "" if file == "new" else "-L"
            for seed in (1, 2):
                words = [f"{XFSTESTS}/fsx", "-q", "-N", "1000", "-S", str(seed), "-P", "/run",
                         *options.split(), *kept.split()]
                part.on_overlay(f"{how}: file {file}, seed {seed}",
                                lambda merged, words=words, file=file:
                                guest.attempt([*words, f"{merged}/{file}"]))
    return part.end()


def fsstress():
    """Operations of all kinds at random, in a tree that earlier ones have made."""
    tree = "/scratch/fsstress"
    os.makedirs(tree)
    program = [f"{XFSTESTS}/fsstress", "-l", "1"]
    # A device 0:0 is a whiteout; with two links, which it would get, it cannot be sealed.
    made = guest.attempt([*program, "-d", tree, "-n", "400", "-p", "2", "-s", "1", "-f", "mknod=0"])
    if made.state != "passed":
        raise OSError(f"fsstress cannot make a tree: {made.said}")
    guest.let_go(tree)
    odd_tree.make(tree, directories=4)
    part = guest.Part(guest.Layer("fsstress-lower", tree))
    for processes in (1, 2, 4):
        for seed in (1, 2, 3, 4):
            words = [*program, "-n", "300", "-p", str(processes), "-s", str(seed), "-d"]
            part.on_overlay(f"{processes} at a time, seed {seed}",
                            lambda merged, words=words: guest.attempt([*words, merged]))
    return part.end()


def pjdfstest():
    """What POSIX says of system calls: each of its scripts, on an overlay."""
    tree = "/scratch/pjdfstest"
    odd_tree.make(tree, directories=4)
    os.mkdir(f"{tree}/here", 0o755)
    part = guest.Part(guest.Layer("pjdfstest-lower", tree))
    for script in sorted(glob.glob(f"{PJDFSTEST}/tests/**/*.t", recursive=True)):
        part.on_overlay(os.path.relpath(script, f"{PJDFSTEST}/tests"),
                        lambda merged, script=script: points_of(script, f"{merged}/here"))
    return part.end()


def points_of(script, directory):
    """What a script that prints TAP came to."""
    outcome = guest.attempt(["sh", script], cwd=directory)
    plan = [line for line in outcome.said if re.match(r"1\.\.[0-9]+", line)]
    good = [line for line in outcome.said if line.startswith("ok ")]
    bad = [line for line in outcome.said if line.startswith("not ok ") and "# TODO" not in line]
    if bad:
        numbers = frozenset(line.split()[2] for line in bad)
        return Outcome("failed", f"{len(bad)} points: {bad[0]}", bad, numbers)
    if not plan or outcome.state != "passed":
        return Outcome("failed", outcome.why or "no plan", outcome.said)
    if plan[0].startswith("1..0"):
        return Outcome("skipped", plan[0], outcome.said)
    planned = int(plan[0][3:].split()[0])
    if len(good) < planned:
        return Outcome("failed", f"{len(good)} of {planned} points", outcome.said)
    return outcome


def ltp():
    """What is in its list `fs` and works in a directory that it is given, on an overlay."""
    tree = "/scratch/ltp"
    odd_tree.make(tree, directories=4)
    os.mkdir(f"{tree}/here", 0o777)
    part = guest.Part(guest.Layer("ltp-lower", tree))
    with open(f"{LTP}/runtest/fs", encoding="utf-8") as file:
        listed = [line.split(None, 1) for line in file if re.match(r"[a-z]\w+\s+\S", line)]
    for test, command in listed:
        if not NOT_HERE.match(test):
            # What works for so many seconds, does so for fewer.
            command = re.sub(r" -L [0-9]+", " -L 4", command)
            command = re.sub(r" -i [0-9]+s", " -i 4s", command)
            part.on_overlay(test, lambda merged, command=command:
                            of_ltp(command.strip(), f"{merged}/here"))
    return part.end()


# What looks at other file systems, or makes its own.
NOT_HERE = re.compile(r"proc|read_all|quota|isofs|fs_fill|binfmt|squashfs")


def of_ltp(command, directory):
    """What a command of its lists came to."""
    words = ["env", f"TMPDIR={directory}", f"LTPROOT={LTP}",
             f"PATH={os.environ['PATH']}:{LTP}/testcases/bin", "sh", "-c", command]
    outcome = guest.attempt(words, cwd=directory)
    if outcome.why == "status 32":
        reasons = [line for line in outcome.said if "TCONF" in line]
        return Outcome("skipped", (reasons or [outcome.why])[0], outcome.said)
    return outcome
