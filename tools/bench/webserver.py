# SPDX-License-Identifier: GPL-2.0-only
"""Debian's nginx, at one end of a link."""

from link import ADDRESSES, SERVER, at
from server import Server

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


class WebServer(Server):
    """Hands out what is below `root`; `address` says where."""

    def __init__(self, root, work):
        self.address = f"http://{ADDRESSES[SERVER]}:{PORT}"
        config = work / "nginx.conf"
        config.write_text(CONFIG.format(work=work, root=root, port=PORT))
        command = ["nginx", "-p", work, "-e", "stderr", "-c", config]
        super().__init__(command, self.address, work, within=at(SERVER, []))
