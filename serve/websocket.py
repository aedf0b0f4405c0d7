"""Messages of a WebSocket: received within limits, and closed with a problem document."""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.websockets import WebSocket, WebSocketDisconnect

from serve.bodies import parse_json
from serve.problems import Problem

_CLOSE_CODES = {401: 3000, 408: 3008, 413: 1009, 429: 1013, 500: 1011, 503: 1013}
_BAD_MESSAGE = 1007
_REASON_BYTES = 120  # of a closing frame, which holds 125 with its code (RFC 6455)


async def receive(
    socket: WebSocket, timeout_s: float, max_characters: int, max_bytes: int = 0
) -> dict[str, Any] | bytes:
    """The next message: a JSON object, or where ``max_bytes`` allows them, bytes.

    Raises Problem: 408 after a timeout, 413 if it is too long, 400 if it is something else; WebSocketDisconnect.
    """
    try:
        async with asyncio.timeout(timeout_s):
            message = await socket.receive()
    except TimeoutError:
        raise Problem(408, f"no message within {timeout_s:g} s") from None
    if message["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(message.get("code") or 1000)
    content, text = message.get("bytes"), message.get("text")
    if content is not None and max_bytes:
        if len(content) > max_bytes:
            raise Problem(413, f"the frame is larger than {max_bytes} bytes; send a smaller picture")
        return content
    if text is None:
        raise Problem(400, "send JSON as text messages; frames need `camera` in the first message")
    if len(text) > max_characters:
        raise Problem(413, f"the message is longer than {max_characters} characters")
    value = parse_json(text, "message")
    if not isinstance(value, dict):
        raise Problem(400, "send a JSON object")
    return value


async def receive_object(socket: WebSocket, timeout_s: float, max_characters: int) -> dict[str, Any]:
    """The next message, a JSON object. Raises as ``receive``."""
    value = await receive(socket, timeout_s, max_characters)
    assert isinstance(value, dict)
    return value


async def send(socket: WebSocket, timeout_s: float, message: dict[str, Any] | bytes) -> None:
    """Raises Problem 408 if the client does not read."""
    try:
        async with asyncio.timeout(timeout_s):
            await (socket.send_bytes(message) if isinstance(message, bytes) else socket.send_json(message))
    except TimeoutError:
        raise Problem(408, f"an answer was not read within {timeout_s:g} s") from None


async def close_with(socket: WebSocket, problem: Problem) -> None:
    """Sends the problem document and closes."""
    try:
        await socket.send_json(problem.document)
        reason = problem.detail.encode()[:_REASON_BYTES].decode(errors="ignore")
        await socket.close(_CLOSE_CODES.get(problem.status, _BAD_MESSAGE), reason)
    except (RuntimeError, WebSocketDisconnect):
        pass  # the client has already disconnected
