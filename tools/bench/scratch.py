# SPDX-License-Identifier: GPL-2.0-only
"""A directory for the stores of a benchmark, and what podman looks for, in a mount namespace of its own."""

import contextlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path


def mount(*words):
    subprocess.run(["mount", *words], check=True)


@contextlib.contextmanager
def scratch(name, parent):
    """A directory below `parent`, which goes at the end, as do all mounts in it."""
    # podman looks for control groups; what it and skopeo keep elsewhere is not to stay in this root.
    mount("-t", "sysfs", "sysfs", "/sys")
    mount("-t", "cgroup2", "cgroup2", "/sys/fs/cgroup")
    Path("/var/lib/containers").mkdir(exist_ok=True)
    for place in ("/run", "/var/lib/containers"):
        mount("-t", "tmpfs", "tmpfs", place)
    directory = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=parent))
    # Layers that are put somewhere first are on the same disk.
    (directory / "tmp").mkdir()
    os.environ["TMPDIR"] = str(directory / "tmp")
    try:
        yield directory
    finally:
        for line in Path("/proc/self/mounts").read_text().splitlines():
            if Path(line.split()[1]).is_relative_to(directory):
                subprocess.run(["umount", "-l", line.split()[1]], check=True)
        shutil.rmtree(directory, ignore_errors=True)
