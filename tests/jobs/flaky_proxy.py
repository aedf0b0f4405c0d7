"""An HTTP proxy that fails some of the requests: half before the server sees them, half after it has answered."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit


class FlakyProxy(ThreadingHTTPServer):
    """failed, passed: how many requests went which way."""

    daemon_threads = True

    def __init__(self, upstream: str, share: float, seed: int = 0) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.upstream = urlsplit(upstream).netloc
        self.share, self.random, self.lock = share, random.Random(seed), threading.Lock()
        self.failed = self.passed = 0

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def fate(self) -> str:
        """``pass``, ``refuse`` (the server never sees it) or ``lose`` (its answer gets lost)."""
        with self.lock:
            if self.random.random() >= self.share:
                self.passed += 1
                return "pass"
            self.failed += 1
            return "refuse" if self.failed % 2 else "lose"

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that go away are part of the drill."""


@contextmanager
def flaky_proxy(upstream: str, share: float) -> Iterator[FlakyProxy]:
    proxy = FlakyProxy(upstream, share)
    thread = threading.Thread(target=proxy.serve_forever, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        proxy.shutdown()
        proxy.server_close()


class _Handler(BaseHTTPRequestHandler):
    server: FlakyProxy
    protocol_version = "HTTP/1.1"

    def _forward(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        fate = self.server.fate()
        if fate == "refuse":
            self._answer(503, [("Content-Type", "application/xml")], b"<Error><Code>SlowDown</Code></Error>")
            return
        headers = {name: value for name, value in self.headers.items() if name.lower() != "expect"}
        connection = HTTPConnection(self.server.upstream, timeout=60)
        connection.request(self.command, self.path, body, headers)
        response = connection.getresponse()
        content = response.read()
        connection.close()
        if fate == "lose":
            self.close_connection = True
            self.connection.close()
            return
        self._answer(response.status, response.getheaders(), content)

    def _answer(self, status: int, headers: list[tuple[str, str]], content: bytes) -> None:
        self.send_response_only(status)
        head = self.command == "HEAD"
        for name, value in headers:
            if name.lower() not in ("transfer-encoding", "connection") and (head or name.lower() != "content-length"):
                self.send_header(name, value)
        if not head:
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if not head:
            self.wfile.write(content)

    def log_message(self, format: str, *arguments: object) -> None:
        """Silent."""

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _forward
