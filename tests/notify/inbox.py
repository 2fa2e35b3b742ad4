"""A webhook on this machine."""

from __future__ import annotations

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator


class Inbox(HTTPServer):
    """What was posted, and how it answers."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Taker)
        self.got: list[dict[str, Any]] = []
        self.answer = 200
        self.url = f"http://127.0.0.1:{self.server_port}/hooks/SECRET"

    def wait(self) -> dict[str, Any]:
        for _ in range(200):
            if self.got:
                return self.got[0]
            time.sleep(0.05)
        raise AssertionError("nothing was posted")


class _Taker(BaseHTTPRequestHandler):
    server: Inbox

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.got.append({"path": self.path, **json.loads(body)})
        self.send_response(self.server.answer)
        self.send_header("Location", "/elsewhere")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def inbox(monkeypatch: pytest.MonkeyPatch) -> Iterator[Inbox]:
    with Inbox() as server:
        threading.Thread(target=server.serve_forever, args=[0.05], daemon=True).start()
        monkeypatch.setenv("KVMDECL_WEBHOOK", server.url)
        yield server
        server.shutdown()
