# SPDX-License-Identifier: GPL-2.0-only
"""A server of HTTP: on loopback, or at one end of a link."""

import subprocess
import sys
import time


class Server:
    """Runs while it is a context, which begins when it answers."""

    def __init__(self, command, url, scratch, within=()):
        """`url` is asked until it answers; `within` runs commands where that is this machine."""
        self.command = [str(word) for word in command]
        self.url = url
        self.log = scratch / f"{self.command[0]}.log"
        self.within = within
        self.server = None

    def __enter__(self):
        with open(self.log, "wb") as log:
            self.server = subprocess.Popen(
                # Should this process be killed, the server ends as well.
                [*self.within, "setpriv", "--pdeathsig", "TERM", *self.command],
                stdout=log,
                stderr=log,
            )
        for _ in range(300):
            asked = ["curl", "--silent", "--output", "/dev/null", self.url]
            if subprocess.run([*self.within, *asked]).returncode == 0:
                return self
            time.sleep(0.1)
        self.__exit__()
        sys.exit(f"{self.command[0]} does not answer: {self.log.read_text(errors='replace')}")

    def __exit__(self, *_):
        self.server.terminate()
        self.server.wait()
