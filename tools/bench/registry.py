# SPDX-License-Identifier: GPL-2.0-only
"""A docker-registry: on loopback, or at one end of a link."""

import json
import socket

from server import Server


class Registry(Server):
    """Serves what is in the directory `storage`; `address` says where."""

    def __init__(self, storage, scratch, is_readonly, host="127.0.0.1", within=()):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.address = f"{host}:{free.getsockname()[1]}"
        # JSON is YAML, too.
        settings = {
            "version": "0.1",
            "log": {"level": "error", "accesslog": {"disabled": True}},
            "storage": {
                "filesystem": {"rootdirectory": str(storage)},
                "cache": {"blobdescriptor": "inmemory"},
                "maintenance": {"readonly": {"enabled": is_readonly}},
            },
            "http": {"addr": self.address},
        }
        config = scratch / "registry.yml"
        config.write_text(json.dumps(settings))
        command = ["docker-registry", "serve", config]
        super().__init__(command, f"http://{self.address}/v2/", scratch, within)
