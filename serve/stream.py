"""The socket for live capture: a photo first, then coefficients in and pictures out, one for one."""

from __future__ import annotations

import asyncio
import base64
import binascii
import time
from typing import Any

from starlette.websockets import WebSocket, WebSocketDisconnect

from jr2net.images.mark import encode_image
from jr2net.inference.driving import apply_expression
from jr2net.inference.face import FittedFace
from serve.access import AccessControl
from serve.bodies import check_box, parse_expression, parse_json
from serve.problems import Problem, answering
from serve.reenact import reenact
from serve.service import Service

_QUALITY = 88
_CLOSE_CODES = {401: 3000, 408: 3008, 413: 1009, 429: 1013, 500: 1011, 503: 1013}
_BAD_MESSAGE = 1007


async def converse(socket: WebSocket, service: Service, access: AccessControl) -> None:
    """One connection, to its end. A wrong message is answered by a problem; a wrong first one also ends it."""
    await socket.accept()
    try:
        limits = service.settings.limits
        first = await _receive(socket, limits.body_seconds, limits.body_bytes * 4 // 3)
        key = first.get("key")
        header = f"Bearer {key}" if isinstance(key, str) else socket.headers.get("authorization")
        name = access.name(header, socket.client.host if socket.client else "")
        with access.admit(name), answering():
            source = await _source(first, service)
            relative = first.get("relative", False) is True
            await _act(socket, service, source, relative)
    except WebSocketDisconnect:
        return
    except Problem as problem:
        await _end(socket, problem)
    except Exception:
        await _end(socket, Problem(500, "an error of the server; it has been logged"))
        raise


async def _act(socket: WebSocket, service: Service, source: FittedFace, relative: bool) -> None:
    height, width = source.photo.image.shape[:2]
    await socket.send_json({"ready": True, "width": width, "height": height, "expression": source.expression})
    limits = service.settings.limits
    until = time.monotonic() + limits.stream_seconds
    while time.monotonic() < until:
        try:
            message = await _receive(socket, limits.stream_idle_seconds, 2**16)
            unknown = set(message) - {"expression"}
            if unknown:
                raise Problem(422, f"unknown field {sorted(map(str, unknown))[0][:60]!r}; send expression")
            expression = parse_expression(message.get("expression"), relative)
        except Problem as problem:
            if problem.status in (408, 413):
                raise
            await socket.send_json(problem.document)
            continue
        picture, network = await reenact(
            service, source, apply_expression(source.fit.face, expression, relative), False
        )
        with service.stage("encode"):
            content = await asyncio.to_thread(encode_image, picture, service.mark(network), "jpeg", _QUALITY)
        await socket.send_bytes(content)
    await socket.close(1000)


async def _receive(socket: WebSocket, seconds: float, largest: int) -> dict[str, Any]:
    """The next message. Raises Problem: 408 when none comes, 413 when it is too long, 400 when it is no JSON object."""
    try:
        async with asyncio.timeout(seconds):
            message = await socket.receive()
    except TimeoutError:
        raise Problem(408, f"no message within {seconds:g} s") from None
    if message["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(message.get("code") or 1000)
    text = message.get("text")
    if text is None:
        raise Problem(400, "send text messages with JSON")
    if len(text) > largest:
        raise Problem(413, f"the message is longer than {largest} characters")
    value = parse_json(text, "message")
    if not isinstance(value, dict):
        raise Problem(400, "send a JSON object")
    return value


async def _source(first: dict[str, Any], service: Service) -> FittedFace:
    encoded = first.get("source")
    if not isinstance(encoded, str):
        raise Problem(422, "source: the first message holds the photo in base64")
    try:
        content = base64.b64decode(encoded.partition(",")[2] if encoded.startswith("data:") else encoded, validate=True)
    except (binascii.Error, ValueError):
        raise Problem(400, "source: not base64") from None
    box = first.get("box")
    box = None if box is None else check_box(box)
    side = service.settings.limits.video_side
    return await service.fit(await service.open_photo(content, box, what="source", side=side))


async def _end(socket: WebSocket, problem: Problem) -> None:
    try:
        await socket.send_json(problem.document)
        await socket.close(_CLOSE_CODES.get(problem.status, _BAD_MESSAGE), problem.detail[:100])
    except (RuntimeError, WebSocketDisconnect):
        pass  # it is gone already
