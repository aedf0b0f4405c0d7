"""Clients that read their answer slowly or not at all: work waits for them, memory does not grow, others are served."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import httpx
import numpy as np
import pytest
from small_networks import BOX, listening, make_photo, make_settings
from test_stream_abuse import memory_mib
from test_track_route import detect

from jr2net.images.video import encode_mp4
from serve.service import Service

pytestmark = pytest.mark.drill

_BUFFER = 4096  # bytes of the client's socket
_FILM, _LINES = 80, 500  # frames, whose answers are much larger than what sockets hold


def noise(frames: int, height: int, width: int) -> bytes:
    """A video whose frames are large, and so are those of a film that is made of it."""
    rng = np.random.default_rng(0)
    images = (rng.integers(60, 255, (height, width, 3), np.uint8) for _ in range(frames))
    return b"".join(encode_mp4(images, 30, None))


def film() -> dict:
    return {"files": {"source": ("a", noise(_FILM, 240, 320))}, "data": {"yaw": "9"}}


def lines() -> dict:
    return {"content": noise(_LINES, 64, 64)}


@contextmanager
def sent(address: tuple[str, int], path: str, body: dict) -> Iterator[socket.socket]:
    """A request whose answer is not read."""
    request = httpx.Request("POST", f"http://{address[0]}:{address[1]}{path}", **body)
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
        connection.connect(address)
        head = "".join(f"{name}: {value}\r\n" for name, value in request.headers.items())
        connection.sendall(f"POST {path} HTTP/1.1\r\n{head}\r\n".encode() + request.read())
        yield connection


class Counted:
    """Networks that count their calls."""

    def __init__(self, networks) -> None:
        self.describe, self.networks, self.calls = networks.describe, networks, 0

    async def fit(self, crops):
        self.calls += len(crops)
        return await self.networks.fit(crops)

    async def reenact(self, requests):
        self.calls += len(requests)
        return await self.networks.reenact(requests)

    def when_still(self) -> int:
        """The number of calls once there are no more for some seconds."""
        before = -1
        while before != self.calls:
            before = self.calls
            time.sleep(6)
        return before


@pytest.mark.parametrize(
    ("path", "body", "frames"), [("/v1/reenact/video", film, _FILM), ("/v1/track?format=ndjson", lines, _LINES)]
)
def test_work_waits_for_clients_that_do_not_read(networks, face_model, weights, path, body, frames) -> None:
    counted = Counted(networks)
    settings = make_settings(weights, limits={"video_seconds": 60})
    with listening(Service(settings, counted, face_model, detect)) as address, ExitStack() as stack:
        slow = [stack.enter_context(sent(address, path, body())) for _ in range(2)]
        for connection in slow:
            connection.recv(1, socket.MSG_PEEK)  # its answer has begun
        done = counted.when_still()
        assert 0 < done < 2 * frames, "the work waits"
        url = f"http://{address[0]}:{address[1]}/v1/reconstruct?box={BOX}"
        assert httpx.post(url, content=make_photo(), timeout=60).status_code == 200, "others are served"
        before = memory_mib()
        for connection in slow[1:]:
            connection.close()
        end = b""
        while not end.endswith(b"0\r\n\r\n"):  # a slow reader gets all of it
            arrived = slow[0].recv(_BUFFER)
            assert arrived, "the answer has its end"
            end = end[-9999:] + arrived
        print(f"{done} of {2 * frames} frames were made for nobody; memory {before:.0f}, then {memory_mib():.0f} MiB")
        assert memory_mib() - before < 40
        assert counted.when_still() <= frames + done, "nothing was made for those who went"
        if path.startswith("/v1/track"):
            last = [line for line in end.split(b"\r\n") if line.startswith(b'{"done"')]
            assert json.loads(last[0])["frames"] == frames
