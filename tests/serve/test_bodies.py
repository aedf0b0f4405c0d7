"""Reading bodies: in chunks, too slow, too large, cut off."""

from __future__ import annotations

import asyncio

import pytest
from starlette.requests import Request

from serve.bodies import read_body, read_form, read_spooled
from serve.problems import Problem
from serve.settings import Limits

LIMITS = Limits(body_bytes=2000, body_seconds=0.05)


async def _spooled(request: Request, limits: Limits) -> bytes:
    spool = await read_spooled(request, limits)
    spool.seek(0)
    return spool.read()


def _read(*messages: dict | float, headers: dict[str, str] | None = None, read=read_body):
    """What is read of these ASGI messages; a number is a pause in seconds."""
    remaining = list(messages)

    async def receive() -> dict:
        while isinstance(remaining[0], float):
            await asyncio.sleep(remaining.pop(0))
        return remaining.pop(0)

    raw = [(name.encode(), value.encode()) for name, value in (headers or {}).items()]
    return asyncio.run(read(Request({"type": "http", "method": "POST", "headers": raw}, receive), LIMITS))


def _chunk(body: bytes, more: bool = True) -> dict:
    return {"type": "http.request", "body": body, "more_body": more}


def test_chunks_are_joined():
    assert _read(_chunk(b"ab"), _chunk(b"cd"), _chunk(b"", False)) == b"abcd"
    assert _read(_chunk(b"ab"), _chunk(b"cd"), _chunk(b"", False), read=_spooled) == b"abcd"


def test_a_form_is_read_as_it_arrives_within_the_limits():
    head = b'--edge\r\nContent-Disposition: form-data; name="video"; filename="a"\r\n\r\n'
    kind = {"content-type": "multipart/form-data; boundary=edge"}
    form = _read(_chunk(head + b"ab"), _chunk(b"cd\r\n--edge--\r\n", False), headers=kind, read=read_form)
    assert form["video"].size == 4
    for messages, status in [
        ((_chunk(head), _chunk(bytes(1500)), _chunk(bytes(1500))), 413),
        ((_chunk(head), 0.2, _chunk(b"", False)), 408),
        ((_chunk(head), {"type": "http.disconnect"}), 400),
        ((_chunk(b"", False),), 400),
    ]:
        with pytest.raises(Problem) as raised:
            _read(*messages, headers=kind, read=read_form)
        assert raised.value.status == status


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
