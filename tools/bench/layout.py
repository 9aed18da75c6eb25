# SPDX-License-Identifier: GPL-2.0-only
"""OCI images that umoci makes, and a registry that stores them."""

import json
import shutil
import subprocess
import sys

from registry import Registry


def run(*command):
    print(*command, flush=True)
    subprocess.run([str(word) for word in command], check=True)


class Layout:
    """Images in an OCI layout."""

    def __init__(self, scratch):
        self.layout = scratch / "layout"
        self.scratch = scratch

    def image(self, tag):
        return f"{self.layout}:{tag}"

    def begin(self):
        """Makes the image `empty`, which others are made of."""
        run("umoci", "init", "--layout", self.layout)
        run("umoci", "new", "--image", self.image("empty"))

    def layer(self, below, tag, change):
        """Makes `tag` of `below` and what `change` does to the root file system."""
        bundle = self.scratch / "bundle"
        run("umoci", "unpack", "--image", self.image(below), bundle)
        change(bundle / "rootfs")
        run("umoci", "repack", "--image", self.image(tag), bundle)
        shutil.rmtree(bundle)

    def blob(self, digest):
        return self.layout / "blobs" / digest.replace(":", "/")

    def manifest(self, tag):
        for entry in json.loads((self.layout / "index.json").read_text())["manifests"]:
            if entry["annotations"]["org.opencontainers.image.ref.name"] == tag:
                return json.loads(self.blob(entry["digest"]).read_text())
        sys.exit(f"{tag}: no such image")


def store(images, tags, storage, scratch):
    """Has a registry store images."""
    with Registry(storage, scratch, is_readonly=False) as registry:
        for tag in tags:
            to = f"docker://{registry.address}/{tag.replace('-', ':')}"
            run(
                *("skopeo", "--insecure-policy", "copy", "--quiet", "--dest-tls-verify=false"),
                *(f"oci:{images.image(tag)}", to),
            )
