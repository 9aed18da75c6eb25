# SPDX-License-Identifier: GPL-2.0-only
"""`gc` and `fsck` of repositories of many objects, by `composefs` and by cfsctl."""

import os
import shutil
import sys

import manyfiles
from measure import let_inodes_go, measure
from pullers import run

SIZES = (50_000, 100_000)
# So many times as long may twice as many objects take where cost is linear; a square would be 4.
LINEAR = 2.5
# What takes less than a second is done so often in a round.
TIMES = 5


class Collecting:
    def __init__(self, ours, cfsctl, scratch):
        self.ours, self.cfsctl, self.scratch = ours, cfsctl, scratch

    def make(self, size, copies):
        """Repositories with an image of so many objects: one, and copies of it."""
        layout, master = self.scratch / "layout", self.scratch / "many"
        manyfiles.write(layout, size)
        run(self.ours, "--repo", master, "init", "--algorithm", "sha256")
        run(self.ours, "--repo", master, "pull", f"oci:{layout}:many", "many")
        shutil.rmtree(layout)
        for copy in copies:
            run("cp", "-a", master, copy)
        shutil.rmtree(master)

    def turn(self, name, repository):
        """The wall times of fsck, of gc, and of gc when no image is needed any more."""
        tool = [{"composefs": self.ours, "cfsctl": self.cfsctl}[name], "--repo", repository]
        fsck = {"composefs": ["fsck"], "cfsctl": ["fsck", "--metadata-only"]}[name]
        took = {
            what: [measure([*tool, *command])["wall"] for _ in range(TIMES)]
            for what, command in {"fsck": fsck, "gc": ["gc"]}.items()
        }
        run(self.ours, "--repo", repository, "untag", "many")
        took["gc-all"] = [measure([*tool, "gc"])["wall"]]
        left = sum(len(files) for _, _, files in os.walk(repository / "objects"))
        if left:
            sys.exit(f"{name}: {left} objects are left of an image that was removed")
        shutil.rmtree(repository)
        return took

    def run(self, rounds, figures):
        ours_took = {}
        for size in SIZES:
            turns = [(count, name) for count in range(rounds) for name in ("composefs", "cfsctl")]
            copies = {turn: self.scratch / "many-{}-{}".format(*turn) for turn in turns}
            print(f"{size} objects: making {len(copies)} repositories", file=sys.stderr, flush=True)
            self.make(size, copies.values())
            measured = {}
            for (count, name), copy in copies.items():
                print(f"round {count + 1}: {name}, {size} objects", file=sys.stderr, flush=True)
                for what, took in self.turn(name, copy).items():
                    measured.setdefault(what, {}).setdefault(name, []).extend(took)
            for what, values in measured.items():
                row = figures.add(f"{what} {size // 1000}k", "s", values)
                ours_took.setdefault(what, []).append(row["composefs"])
            let_inodes_go()
        for what, (half, whole) in ours_took.items():
            figures.growth(f"{what} growth", half, whole, LINEAR)
