# SPDX-License-Identifier: GPL-2.0-only
"""A docker-registry: on loopback, or at one end of a link."""

import json
import socket
import subprocess
import sys
import time


class Registry:
    """Serves what is in the directory `storage` while it is a context; `address` says where."""

    def __init__(self, storage, scratch, is_readonly, host="127.0.0.1", within=()):
        """`within` runs commands where `host` is this machine."""
        self.within = within
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
        self.config = scratch / "registry.yml"
        self.config.write_text(json.dumps(settings))
        self.log = scratch / "registry.log"
        self.server = None

    def __enter__(self):
        with open(self.log, "wb") as log:
            self.server = subprocess.Popen(
                # Should this process be killed, the registry ends as well.
                [*self.within, "setpriv", "--pdeathsig", "TERM", "docker-registry", "serve", str(self.config)],
                stdout=log,
                stderr=log,
            )
        for _ in range(300):
            asked = ["curl", "--silent", "--output", "/dev/null", f"http://{self.address}/v2/"]
            if subprocess.run([*self.within, *asked]).returncode == 0:
                return self
            time.sleep(0.1)
        self.__exit__()
        sys.exit(f"docker-registry does not answer: {self.log.read_text(errors='replace')}")

    def __exit__(self, *_):
        self.server.terminate()
        self.server.wait()
