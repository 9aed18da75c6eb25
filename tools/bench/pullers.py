# SPDX-License-Identifier: GPL-2.0-only
"""Who pulls images: `composefs`, cfsctl, podman, and skopeo with umoci, each into a store of its own."""

import shutil
import subprocess
from pathlib import Path

from measure import measure


def run(*command):
    """Runs a command that has to succeed; what it printed."""
    return subprocess.run([str(word) for word in command], check=True, capture_output=True, text=True).stdout


def works(command):
    return subprocess.run([str(word) for word in command], capture_output=True).returncode == 0


def forget():
    """What one of them has seen where, skopeo and podman note in one place: the next is not to know."""
    shutil.rmtree("/var/lib/containers/cache", ignore_errors=True)


class Puller:
    """One of them; `store` is the directory that all is in which it keeps."""

    def __init__(self, store):
        self.store = store

    def make(self):
        """Makes an empty store."""
        raise NotImplementedError

    def pull(self, address, image):
        """Pulls an image; what that costs, as `measure` says it."""
        raise NotImplementedError

    def remove(self):
        """Removes the store."""
        for mount in [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]:
            if Path(mount).is_relative_to(self.store):
                run("umount", "-l", mount)
        shutil.rmtree(self.store)


class Composefs(Puller):
    def __init__(self, program, store):
        super().__init__(store)
        self.command = [program, "--repo", store]

    def run(self, *words):
        """Runs a command of it that has to succeed; what it printed."""
        return run(*self.command, *words).strip()

    def make(self):
        self.run("init", "--algorithm", "sha256")

    def pulling(self, address, image):
        """What pulls an image."""
        return [*self.command, "pull", "--tls-verify=false", f"docker://{address}/{image}", image]

    def pull(self, address, image):
        return measure(self.pulling(address, image))

    def digest(self, image):
        return self.run("digest", image)

    def collect(self, image):
        """Removes an image, and what nothing else needs."""
        self.run("untag", image)
        self.run("gc")


class Cfsctl(Puller):
    def __init__(self, program, store):
        super().__init__(store)
        self.command = [program, "--repo", store]

    def make(self):
        # It wants fs-verity unless told otherwise; ours takes it where it is.
        init = [*self.command, "init", "--algorithm", "fsverity-sha256-12"]
        if not works(init):
            shutil.rmtree(self.store, ignore_errors=True)
            run(*init, "--insecure")

    def pull(self, address, image):
        return measure([*self.command, "oci", "pull", f"docker://{address}/{image}", image])


class Podman(Puller):
    def __init__(self, store):
        super().__init__(store)
        self.driver = None

    def options(self):
        return ["podman", "--root", self.store, "--storage-driver", self.driver]

    def choose_driver(self):
        """The one that machines have by default, if the file system here can be below an overlay."""
        for self.driver in ("overlay", "vfs"):
            if works([*self.options(), "info"]):
                self.remove()
                return
            shutil.rmtree(self.store, ignore_errors=True)
        raise SystemExit("podman: no storage driver works here")

    def make(self):
        run(*self.options(), "info")

    def pull(self, address, image):
        return measure([*self.options(), "pull", "--quiet", "--tls-verify=false", f"docker://{address}/{image}"])


class Umoci(Puller):
    def make(self):
        self.store.mkdir()

    def pull(self, address, image):
        name = image.replace(":", "-")
        layout = f"{self.store}/layout:{name}"
        fetch = ["skopeo", "copy", "--quiet", "--src-tls-verify=false", f"docker://{address}/{image}", f"oci:{layout}"]
        fetched = measure(fetch)
        unpacked = measure(["umoci", "unpack", "--image", layout, self.store / name])
        return {
            quantity: fetched[quantity] + unpacked[quantity]
            if quantity in ("wall", "cpu")
            else max(fetched[quantity], unpacked[quantity])
            for quantity in fetched
        }
