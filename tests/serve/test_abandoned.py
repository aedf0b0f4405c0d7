"""Work that nobody waits for any more stops."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator

import httpx
import numpy as np
import pytest
from small_networks import listening

from jr2net.images.face_detector import Face
from jr2net.images.video import encode_mp4
from serve.problems import Problem
from serve.reenact import first_chunk
from serve.service import Service


def test_a_search_for_a_face_stops_when_the_client_goes() -> None:
    stopped = []

    async def searching() -> AsyncIterator[bytes]:
        try:
            await asyncio.sleep(3600)
            yield b""
        finally:
            stopped.append(True)

    async def gone() -> bool:
        return True

    async def request() -> None:
        with pytest.raises(Problem, match="the client has gone"):
            await first_chunk(searching(), gone)
        await asyncio.sleep(0)

    asyncio.run(request())
    assert stopped


def test_the_first_chunk_and_errors_come_through() -> None:
    async def here() -> bool:
        return False

    async def one() -> AsyncIterator[bytes]:
        yield b"chunk"

    async def none() -> AsyncIterator[bytes]:
        return
        yield b""

    async def refused() -> AsyncIterator[bytes]:
        raise Problem(422, "no face")
        yield b""

    assert asyncio.run(first_chunk(one(), here)) == b"chunk"
    assert asyncio.run(first_chunk(none(), here)) == b""
    with pytest.raises(Problem, match="no face"):
        asyncio.run(first_chunk(refused(), here))


@pytest.mark.drill
@pytest.mark.parametrize("path", ["/v1/track", "/v1/track?format=ndjson", "/v1/reenact/video", "/v1/picture"])
def test_a_video_is_read_no_further_when_the_client_goes(networks, face_model, settings, path: str) -> None:
    searched: list[float] = []

    def detect(image: np.ndarray) -> list[Face]:
        searched.append(time.monotonic())
        time.sleep(0.02)
        height, width = image.shape[:2]
        face = Face((0.2 * width, 0.2 * height, 0.8 * width, 0.8 * height))
        return [] if path == "/v1/picture" else [face]  # which searches until it finds one

    clip = b"".join(encode_mp4([np.full((64, 64, 3), 90, np.uint8)] * 1400, 30, None))
    form = {"files": {"source": ("a", clip)}, "data": {"yaw": "9"}} if path.endswith("video") else {"content": clip}
    with listening(Service(settings, networks, face_model, detect)) as address:
        body = httpx.Request("POST", f"http://{address[0]}:{address[1]}{path}", **form)
        with socket.create_connection(address) as connection:
            head = "".join(f"{name}: {value}\r\n" for name, value in body.headers.items())
            connection.sendall(f"POST {path} HTTP/1.1\r\n{head}\r\n".encode() + body.read())
            while len(searched) < 30:
                time.sleep(0.05)
        gone = time.monotonic()
        time.sleep(2.5)
        assert max(searched) < gone + 1 and len(searched) < 1000
