# SPDX-License-Identifier: GPL-2.0-only
"""An OCI image of many small files, each of which becomes an object."""

import gzip
import hashlib
import io
import json
import tarfile

OCI = "application/vnd.oci.image."


def write(layout, count):
    """Writes the image `many` of `count` files, no two of which are alike, to an OCI layout."""
    blobs = layout / "blobs/sha256"
    blobs.mkdir(parents=True)

    def blob(content, kind):
        digest = hashlib.sha256(content).hexdigest()
        (blobs / digest).write_bytes(content)
        return {"mediaType": OCI + kind, "digest": f"sha256:{digest}", "size": len(content)}

    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for name in ("usr", *(f"usr/{hundred:04}" for hundred in range(-(-count // 100)))):
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(entry)
        for nr in range(count):
            # More than what goes into the metadata.
            content = f"This is file {nr}.\n".encode() * 10
            entry = tarfile.TarInfo(f"usr/{nr // 100:04}/{nr:06}")
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    plain = archive.getvalue()
    config = {
        "architecture": "amd64",
        "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(plain).hexdigest()}"]},
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": OCI + "manifest.v1+json",
        "config": blob(json.dumps(config).encode(), "config.v1+json"),
        "layers": [blob(gzip.compress(plain, 1), "layer.v1.tar+gzip")],
    }
    entry = blob(json.dumps(manifest).encode(), "manifest.v1+json")
    entry["annotations"] = {"org.opencontainers.image.ref.name": "many"}
    (layout / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [entry]}))
    (layout / "oci-layout").write_text(json.dumps({"imageLayoutVersion": "1.0.0"}))
