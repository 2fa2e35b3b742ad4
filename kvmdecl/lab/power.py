"""The power controller of a lab with a cluster: hosts ask it, by a socket, to switch each other off and on.

It runs in the hub's namespaces and ends with them. It notes what it was asked in `power.log`.
"""

from __future__ import annotations

import socketserver
import sys
import threading
import time
from pathlib import Path

from kvmdecl.diagnostics import Rejected
from kvmdecl.lab import Lab, State
from kvmdecl.lab.cluster import SWITCH


class _Request(socketserver.StreamRequestHandler):
    """One line `ACTION HOST`, answered by one word."""

    server: _Controller

    def handle(self) -> None:
        action, _, host = self.rfile.readline(1000).decode(errors="replace").strip().partition(" ")
        try:
            answer = self.server.switch(action, host)
        except Rejected as rejected:
            answer = f"failed: {rejected}".splitlines()[0]
        self.wfile.write(f"{answer}\n".encode())


class _Controller(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._one_at_a_time = threading.Lock()
        socket = lab.directory / f"{SWITCH}.new"
        super().__init__(str(socket), _Request)
        socket.rename(lab.directory / SWITCH)  # whoever sees it may ask

    def switch(self, action: str, host: str) -> str:
        """Do what is asked, and return the answer.

        Raises:
            Rejected: no such host, or it does not start.
        """
        if action == "list":
            return " ".join(self._lab.hosts)
        if action == "status":
            return "off" if self._lab.status()[self._lab.host(host).name] is State.OFF else "on"
        if action not in {"on", "off", "reboot"}:
            return "unknown"
        sys.stderr.write(f"{time.time():.3f} {action} {host}\n")
        with self._one_at_a_time:
            if action in {"off", "reboot"}:
                self._lab.power_off(host)
            if action in {"on", "reboot"}:
                self._lab.power_on(host)
        return "ok"


if __name__ == "__main__":
    with _Controller(Lab.load(Path(sys.argv[1]))) as controller:
        controller.serve_forever()
