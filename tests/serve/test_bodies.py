"""Bodies as they arrive: too slowly, too much, cut off."""

from __future__ import annotations

import asyncio

import pytest
from starlette.requests import Request

from serve.bodies import read_body
from serve.problems import Problem
from serve.settings import Limits

LIMITS = Limits(body_bytes=2000, body_seconds=0.05)


def _read(*messages: dict | float, headers: dict[str, str] | None = None) -> bytes:
    """What ``read_body`` makes of these; a number is a pause in seconds."""
    coming = list(messages)

    async def receive() -> dict:
        while isinstance(coming[0], float):
            await asyncio.sleep(coming.pop(0))
        return coming.pop(0)

    raw = [(name.encode(), value.encode()) for name, value in (headers or {}).items()]
    return asyncio.run(read_body(Request({"type": "http", "method": "POST", "headers": raw}, receive), LIMITS))


def _piece(body: bytes, more: bool = True) -> dict:
    return {"type": "http.request", "body": body, "more_body": more}


def test_a_body_in_pieces_is_put_together():
    assert _read(_piece(b"ab"), _piece(b"cd"), _piece(b"", False)) == b"abcd"


@pytest.mark.parametrize(
    ("messages", "headers", "status"),
    [
        ((_piece(b"a"), 5.0, _piece(b"b", False)), {}, 408),
        ((), {"content-length": "2001"}, 413),
        ((_piece(b"a" * 1500), _piece(b"b" * 501)), {}, 413),
        ((_piece(b"a"), {"type": "http.disconnect"}), {}, 400),
        ((_piece(b"", False),), {"content-length": "0"}, 400),
        ((_piece(b"", False),), {"content-length": "many"}, 400),
    ],
)
def test_what_does_not_arrive_whole_and_in_time_is_refused(messages, headers, status):
    with pytest.raises(Problem) as refused:
        _read(*messages, headers=headers)
    assert refused.value.status == status
