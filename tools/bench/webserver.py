# SPDX-License-Identifier: GPL-2.0-only
"""Debian's nginx, at one end of a link."""

import subprocess
import sys
import time

from link import ADDRESSES, SERVER, at

PORT = 8080
CONFIG = """
daemon off; master_process off; user root; pid {work}/nginx.pid; error_log stderr crit;
events {{}}
http {{
    client_body_temp_path {work}/body; proxy_temp_path {work}/proxy; fastcgi_temp_path {work}/fastcgi;
    uwsgi_temp_path {work}/uwsgi; scgi_temp_path {work}/scgi;
    access_log {work}/nginx.access; sendfile on; tcp_nopush on;
    server {{ listen {port}; root {root}; }}
}}
"""


class WebServer:
    """Hands out what is below `root`, while it is a context; `address` says where."""

    def __init__(self, root, work):
        self.address = f"http://{ADDRESSES[SERVER]}:{PORT}"
        self.work = work
        self.config = work / "nginx.conf"
        self.config.write_text(CONFIG.format(work=work, root=root, port=PORT))
        self.server = None

    def __enter__(self):
        command = ["nginx", "-p", self.work, "-e", "stderr", "-c", self.config]
        self.server = subprocess.Popen([*at(SERVER, ["setpriv", "--pdeathsig", "TERM"]), *map(str, command)])
        for _ in range(100):
            asked = at(SERVER, ["curl", "--silent", "--output", "/dev/null", self.address])
            if subprocess.run(asked).returncode == 0:
                return self
            time.sleep(0.1)
        self.__exit__()
        sys.exit("nginx does not answer")

    def __exit__(self, *_):
        self.server.terminate()
        self.server.wait()
