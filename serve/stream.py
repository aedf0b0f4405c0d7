"""The WebSocket for live capture: first the photo, then one JPEG for each message with coefficients.

With ``camera`` in the first message, frames of a camera follow instead (``serve.camera``).
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import time
from dataclasses import asdict
from typing import Any

from starlette.websockets import WebSocket, WebSocketDisconnect

from jr2net.images.mark import encode_image
from jr2net.inference.control import DrivingOptions, drive, with_expression
from jr2net.inference.face import FittedFace
from jr2net.inference.following import FaceChoice
from serve.access import AccessControl
from serve.bodies import check_box, check_face, parse_expression
from serve.camera import answer_frames, of_source
from serve.control import PHOTO_CONTROLS, TURN, check_controls, make_options, of_expression
from serve.problems import INTERNAL_ERROR, Problem, network_errors_as_503
from serve.reenact import reenact
from serve.service import Service
from serve.websocket import close_with, receive_object, send

_QUALITY = 88
_FIRST = ("source", "box", "face", "key", "camera", "camera_face", "camera_box", "smooth", *PHOTO_CONTROLS)


async def handle_stream(socket: WebSocket, service: Service, access: AccessControl) -> None:
    """Serves one connection. An invalid message returns a problem document; the first one then also closes it."""
    await socket.accept()
    try:
        limits, address = service.settings.limits, socket.client.host if socket.client else ""
        with access.admit(f"socket of {address}"):  # whose it is, is known with its first message
            first = await receive_object(socket, limits.body_seconds, limits.body_bytes * 4 // 3)
        key = first.get("key")
        header = f"Bearer {key}" if isinstance(key, str) else socket.headers.get("authorization")
        caller_id = access.authenticate(header, address)
        if unknown := sorted(set(first) - set(_FIRST)):
            raise Problem(422, f"unknown field {unknown[0][:60]!r} in the first message; known: {', '.join(_FIRST)}")
        with access.admit(caller_id), network_errors_as_503():
            if _takes_frames(first):
                source = await _open_source(first, service) if "source" in first else None
                await answer_frames(socket, service, first, _camera_choice(first), source)
                return
            options = of_expression(check_controls(first, PHOTO_CONTROLS), "named coefficients drive")
            source = await _open_source(first, service)
            await _reenact_messages(socket, service, source, options)
    except WebSocketDisconnect:
        return
    except Problem as problem:
        await close_with(socket, problem)
    except Exception:
        await close_with(socket, Problem(500, INTERNAL_ERROR))
        raise


async def _reenact_messages(socket: WebSocket, service: Service, source: FittedFace, options: DrivingOptions) -> None:
    """Returns an image for every expression, until the time limit. Raises Problem, or WebSocketDisconnect."""
    await socket.send_json({"ready": True, **await asyncio.to_thread(of_source, source)})
    limits = service.settings.limits
    deadline = time.monotonic() + limits.stream_seconds
    while time.monotonic() < deadline:
        try:
            message = await receive_object(socket, limits.stream_idle_seconds, 2**16)
            unknown = set(message) - {"expression", *TURN}
            if unknown:
                raise Problem(
                    422, f"unknown field {sorted(map(str, unknown))[0][:60]!r}; send expression, pitch, yaw, roll"
                )
            turn = {name: message[name] for name in TURN if name in message}
            now = make_options({**asdict(options), **turn})
            expression = parse_expression(message.get("expression"), options.relative)
        except Problem as problem:
            if problem.status in (408, 413):
                raise
            await send(socket, limits.stream_idle_seconds, problem.document)
            continue
        driving = drive(source.fit.face, with_expression(source.fit.face, expression), now)
        image, network = await reenact(service, source, driving, now.affects_whole_crop)
        with service.stage("encode"):
            content = await asyncio.to_thread(encode_image, image, service.mark(network), "jpeg", _QUALITY)
        await send(socket, limits.stream_idle_seconds, content)
    await socket.close(1000)


def _takes_frames(first: dict[str, Any]) -> bool:
    """Raises Problem 422."""
    camera = first.get("camera", False)
    if not isinstance(camera, bool):
        raise Problem(422, f"camera: {str(camera)[:40]!r} is neither true nor false")
    return camera


def _camera_choice(first: dict[str, Any]) -> FaceChoice:
    """Which face before the camera is meant. Raises Problem 422."""
    box = first.get("camera_box")
    return FaceChoice.of(
        check_face(first.get("camera_face", 0), "camera_face"), None if box is None else check_box(box, "camera_box")
    )


async def _open_source(first: dict[str, Any], service: Service) -> FittedFace:
    """The fitted face of the first message's photo. Raises Problem."""
    encoded = first.get("source")
    if not isinstance(encoded, str):
        raise Problem(422, "source: send the photo in base64 in the first message")
    try:
        content = base64.b64decode(encoded.partition(",")[2] if encoded.startswith("data:") else encoded, validate=True)
    except (binascii.Error, ValueError):
        raise Problem(400, "source: not base64") from None
    box = first.get("box")
    box = None if box is None else check_box(box)
    face, max_side = check_face(first.get("face", 0)), service.settings.limits.video_side
    return await service.fit(await service.open_photo(content, box, face, name="source", max_side=max_side))
