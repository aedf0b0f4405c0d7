"""Fault injection for S3: a proxy in front of a server that fails a fraction of all requests, or delays all of them.

    with faulty_s3("http://127.0.0.1:9000", rate=0.05) as proxy:
        os.environ["AWS_ENDPOINT_URL"] = proxy.endpoint
        …
        assert proxy.failed  # Counter({"500": 7, "truncated": 5, …})
        assert proxy.sent["GET"] < 1_000_000  # bytes

Headers are forwarded unchanged, so that signatures stay valid.
"""

from __future__ import annotations

import http.client
import random
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

FAULTS = ("500", "503", "reset", "lost", "truncated")
"""``reset``: the connection breaks before the request is forwarded; ``lost``: after it, before the response;
``truncated``: half of a GET's body is sent (for other methods: ``lost``)."""

_CODES = {"500": "InternalError", "503": "SlowDown"}
_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length"}


class FaultyS3(ThreadingHTTPServer):
    """``requests`` and ``sent`` count requests and bytes of bodies by method, ``gets`` GETs of objects by path, and
    ``failed`` faults by kind.

    ``rate`` and ``delay_s``, which every request waits, may be changed at any time.
    """

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, upstream: str, rate: float, faults: Sequence[str], seed: int, delay_s: float) -> None:
        super().__init__(("127.0.0.1", 0), _Request)
        self.upstream, self.rate, self.faults = urlsplit(upstream).netloc, rate, tuple(faults)
        self.delay_s = delay_s
        self.requests: Counter[str] = Counter()
        self.sent: Counter[str] = Counter()
        self.gets: Counter[str] = Counter()
        self.failed: Counter[str] = Counter()
        self.endpoint = f"http://127.0.0.1:{self.server_address[1]}"
        self._random, self._lock = random.Random(seed), threading.Lock()

    def draw_fault(self, method: str, path: str) -> str | None:
        """Counts a request and draws a fault for it, or None."""
        with self._lock:
            self.requests[method] += 1
            if method == "GET" and "?" not in path:  # those with a query are listings
                self.gets[path] += 1
            if self._random.random() >= self.rate:
                return None
            fault = self._random.choice(self.faults)
            if fault == "truncated" and method != "GET":
                fault = "lost"
            self.failed[fault] += 1
            return fault

    def count_sent(self, method: str, size: int) -> None:
        with self._lock:
            self.sent[method] += size

    def handle_error(self, request: object, client_address: object) -> None:
        """Ignores clients that close the connection."""


@contextmanager
def faulty_s3(
    upstream: str, rate: float = 0.05, faults: Sequence[str] = FAULTS, seed: int = 0, delay_s: float = 0.0
) -> Iterator[FaultyS3]:
    server = FaultyS3(upstream, rate, faults, seed, delay_s)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


class _Request(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FaultyS3

    def _handle(self) -> None:
        body = self._body()
        fault = self.server.draw_fault(self.command, self.path)
        time.sleep(self.server.delay_s)
        if fault == "reset":
            self._reset()
        elif fault in _CODES:
            error = f"<Error><Code>{_CODES[fault]}</Code><Message>injected fault</Message></Error>".encode()
            self._send(int(fault), [("Content-Type", "application/xml")], error)
        else:
            status, headers, response_body = self._forward(body)
            if fault == "lost":
                self._reset()
            elif fault == "truncated":
                self._send(status, headers, response_body, sent=len(response_body) // 2)
                self._reset()
            else:
                self._send(status, headers, response_body)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _handle

    def _body(self) -> bytes:
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        chunks = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(chunks)

    def _forward(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        connection = http.client.HTTPConnection(self.server.upstream, timeout=60)
        try:
            connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                if name.lower() not in _HOP | {"expect"}:
                    connection.putheader(name, value)
            connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body)
            response = connection.getresponse()
            response_body = response.read()
            headers = response.getheaders()
            if self.command == "HEAD":
                return response.status, headers, b""
            return response.status, [(k, v) for k, v in headers if k.lower() not in _HOP], response_body
        finally:
            connection.close()

    def _send(self, status: int, headers: list[tuple[str, str]], body: bytes, sent: int | None = None) -> None:
        self.send_response_only(status)
        for name, value in headers:
            if self.command == "HEAD" or name.lower() not in _HOP:
                self.send_header(name, value)
        if self.command != "HEAD":
            self.send_header("Content-Length", str(len(body)))
            self.server.count_sent(self.command, len(body))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body if sent is None else body[:sent])

    def _reset(self) -> None:
        self.close_connection = True
        with suppress(OSError):
            self.wfile.flush()
            # SO_LINGER 0: the client gets a reset instead of an orderly close.
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()

    def log_message(self, format: str, *arguments: object) -> None:
        """Logs nothing."""
