"""Reading bodies: in chunks, too slow, too large, cut off."""

from __future__ import annotations

import asyncio

import pytest
from starlette.requests import Request

from serve.bodies import read_body
from serve.problems import Problem
from serve.settings import Limits

LIMITS = Limits(body_bytes=2000, body_seconds=0.05)


def _read(*messages: dict | float, headers: dict[str, str] | None = None) -> bytes:
    """The result of ``read_body`` for these ASGI messages; a number is a pause in seconds."""
    remaining = list(messages)

    async def receive() -> dict:
        while isinstance(remaining[0], float):
            await asyncio.sleep(remaining.pop(0))
        return remaining.pop(0)

    raw = [(name.encode(), value.encode()) for name, value in (headers or {}).items()]
    return asyncio.run(read_body(Request({"type": "http", "method": "POST", "headers": raw}, receive), LIMITS))


def _chunk(body: bytes, more: bool = True) -> dict:
    return {"type": "http.request", "body": body, "more_body": more}


def test_chunks_are_joined():
    assert _read(_chunk(b"ab"), _chunk(b"cd"), _chunk(b"", False)) == b"abcd"


@pytest.mark.parametrize(
    ("messages", "headers", "status"),
    [
        ((_chunk(b"a"), 5.0, _chunk(b"b", False)), {}, 408),
        ((), {"content-length": "2001"}, 413),
        ((_chunk(b"a" * 1500), _chunk(b"b" * 501)), {}, 413),
        ((_chunk(b"a"), {"type": "http.disconnect"}), {}, 400),
        ((_chunk(b"", False),), {"content-length": "0"}, 400),
        ((_chunk(b"", False),), {"content-length": "many"}, 400),
    ],
)
def test_incomplete_large_and_slow_bodies_are_rejected(messages, headers, status):
    with pytest.raises(Problem) as refused:
        _read(*messages, headers=headers)
    assert refused.value.status == status
