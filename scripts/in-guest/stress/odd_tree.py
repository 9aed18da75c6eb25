# SPDX-License-Identifier: GPL-2.0-only
"""A tree of files as file systems have them: sizes, names, owners, attributes, links, devices."""

import os
import random
import stat

SIZES = [0, 1, 64, 65, 511, 4095, 4096, 4097, 8192, 65536, 100_000, 1 << 20]


def make(top, directories=24, files=12):
    """Makes it: `files` has what opening does not wait for, `special` the rest. The same each time."""
    chance = random.Random(1)
    below = [f"{top}/files"]
    os.makedirs(below[0])
    for number in range(directories):
        below.append(f"{chance.choice(below)}/directory-{number}")
        os.mkdir(below[-1])
    for number in range(directories * files):
        path = f"{chance.choice(below)}/file-{number}"
        size = SIZES[number % len(SIZES)]
        # A megabyte only now and then.
        size = size if size < 1 << 20 or number < 48 else number
        with open(path, "wb") as file:
            file.write(chance.randbytes(size))
        os.chmod(path, chance.choice([0o644, 0o755, 0o600, 0o444, 0o4755, 0o000]))
        os.chown(path, chance.choice([0, 1000, 70_000]), chance.choice([0, 100, 70_000]))
        if number % 7 == 0:
            os.setxattr(path, "user.number", str(number).encode())
        if number % 11 == 0:
            os.setxattr(path, "trusted.long", bytes([number % 256]) * 1000)
        if number % 13 == 0:
            os.link(path, f"{chance.choice(below)}/link-{number}")
        if number % 17 == 0:
            os.symlink(chance.choice(["nowhere", path.replace(top, "")]), f"{path}.symlink")
        os.utime(path, ns=(10**18 + number, 10**18 - 10**9 * number - 1))
    with open(f"{below[0]}/{'n' * 255}", "w", encoding="ascii") as file:
        file.write("a long name\n")
    with open(f"{below[0]}/holes", "wb") as file:
        file.truncate(3 << 20)
        file.seek(1 << 20)
        file.write(b"data")

    os.mkdir(f"{top}/special")
    os.mkfifo(f"{top}/special/fifo")
    os.mknod(f"{top}/special/null", 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    os.mknod(f"{top}/special/disk", 0o600 | stat.S_IFBLK, os.makedev(254, 0))
    os.mknod(f"{top}/special/socket", 0o600 | stat.S_IFSOCK)
