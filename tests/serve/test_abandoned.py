"""Work that nobody waits for any more stops."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from serve.problems import Problem
from serve.reenact import first_chunk


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
