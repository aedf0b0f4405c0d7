"""Camera frames over the WebSocket: each is answered by what is read of the face, and may drive a photo.

Of the frames that arrive while one is being worked on, the newest is kept and the others are dropped.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from starlette.websockets import WebSocket

from jr2net.expressions.live_link import eye_angles
from jr2net.face.arkit import ARKIT_NAMES
from jr2net.images.mark import encode_image
from jr2net.images.photo import PhotoError, read_photo
from jr2net.inference.assembly import TrackedFrame
from jr2net.inference.control import DrivingOptions, drive
from jr2net.inference.face import FittedFace, rounded
from jr2net.inference.following import FaceChoice, FaceFollower, FollowedFrame, PictureCamera
from jr2net.inference.messages import FaceArrays
from jr2net.inference.photo import shrink_to
from jr2net.inference.tracker import LiveSmoother
from serve.bodies import photo_notes
from serve.control import PHOTO_CONTROLS, check_controls, make_options
from serve.problems import Problem
from serve.reenact import open_follower, reenact
from serve.service import Service
from serve.websocket import receive, send

_QUALITY = 85
_MESSAGE_CHARACTERS = 2**16
_USUAL_FPS = 15.0  # for the follower's patience; smoothing goes by the instants of the frames


@dataclass
class _Frame:
    """number: in the order of arrival, from 0. arrived: by ``time.monotonic``."""

    number: int
    arrived: float
    content: bytes


@dataclass
class _Inbox:
    """What has arrived and was not looked at yet: of frames, of texts and of errors the newest."""

    frame: _Frame | None = None
    text: dict[str, Any] | None = None
    problem: Problem | None = None
    received: int = 0
    dropped: int = 0
    _arrived: asyncio.Event = field(default_factory=asyncio.Event)

    def put(self, message: dict[str, Any] | bytes | Problem) -> None:
        if isinstance(message, Problem):
            self.problem = message
        elif isinstance(message, dict):
            self.text = {**(self.text or {}), **message}
        else:
            self.dropped += self.frame is not None
            self.frame = _Frame(self.received, time.monotonic(), message)
            self.received += 1
        self._arrived.set()

    async def take(self) -> tuple[_Frame | None, dict[str, Any] | None, Problem | None]:
        await self._arrived.wait()
        self._arrived.clear()
        taken = self.frame, self.text, self.problem
        self.frame = self.text = self.problem = None
        return taken


class _Reader:
    """Reads one person's face in frames that come one after another."""

    def __init__(self, service: Service, focal_ratio: float, choice: FaceChoice, smooth: bool) -> None:
        self.service, self.started = service, 0.0
        self.follow: FaceFollower = open_follower(service, _USUAL_FPS, choice, "camera")
        self.camera = PictureCamera(focal_ratio)
        self.smoothers = (LiveSmoother(None), LiveSmoother(None)) if smooth else None
        self.said: tuple[str, ...] = ()

    async def read(self, frame: _Frame) -> tuple[dict[str, Any], FaceArrays | None]:
        """What the frame shows, JSON-serialisable, and the face as it drives another one. Raises Problem."""
        self.started = self.started or frame.arrived
        seconds = frame.arrived - self.started
        followed, (height, width) = await asyncio.to_thread(self._find, frame.content)
        photo = followed.photo
        shown: dict[str, Any] = {"seconds": round(seconds, 4), "width": width, "height": height}
        if followed.begins:
            shown["cut"] = True
        if (notes := self.follow.notes()) != self.said:
            shown["notes"], self.said = list(notes), notes
        if photo is None:
            self._smooth(TrackedFrame(seconds, None))
            return {**shown, **dict.fromkeys(("expression", "rotation", "translation", "eyes"))}, None
        fitted = await self.service.fit(photo)
        face = self.camera.place(fitted.fit.face, photo)
        placed, driving = self._smooth(
            *(TrackedFrame(seconds, values, followed.begins) for values in (face, fitted.fit.face))
        )
        assert placed is not None
        expression = placed["expression"].clip(0, 1)
        eyes = rounded(eye_angles(expression[None])[0], 4)
        shown |= {
            "expression": dict(zip(ARKIT_NAMES, rounded(expression, 4), strict=True)),
            "rotation": rounded(placed["rotation"], 5),
            "translation": rounded(placed["translation"], 2),
            "eyes": {"left": eyes[:2], "right": eyes[3:5]},
            "box": rounded(np.array(photo.face.box), 1),
            "score": round(photo.face.score, 4),
            "confidence": round(await asyncio.to_thread(self.follow.confidence, photo, fitted.landmarks), 3),
            "landmarks": rounded(fitted.landmarks, 1),
            "camera": {
                "size": round(photo.crop.side),
                "focal": self.camera.focal,
                "centre": [width / 2, height / 2],
                "crop": [[1, 0, 0], [0, 1, 0]],
            },
        }
        return shown, driving

    def _find(self, content: bytes) -> tuple[FollowedFrame, tuple[int, ...]]:
        limits = self.service.settings.limits
        try:
            with self.service.stage("decode"):
                image = read_photo(content, limits.video_pixels).pixels
        except PhotoError as error:
            raise Problem.from_error(error, "frame") from None
        image, _ = shrink_to(image, limits.video_side)
        with self.service.stage("find"):
            return self.follow(image), image.shape[:2]

    def _smooth(self, *frames: TrackedFrame) -> tuple[FaceArrays | None, ...]:
        if self.smoothers is None:
            return tuple(frame.face for frame in frames)
        if len(frames) == 1:
            frames = frames * len(self.smoothers)
        return tuple(smooth(frame).face for smooth, frame in zip(self.smoothers, frames, strict=True))


async def answer_frames(
    socket: WebSocket, service: Service, first: dict[str, Any], choice: FaceChoice, source: FittedFace | None
) -> None:
    """Answers frames until the client goes or the time limit. source: the photo that they drive.

    first: the first message. Raises Problem, or WebSocketDisconnect at once when the client goes.
    """
    limits = service.settings.limits
    smooth = first.get("smooth", True)
    if not isinstance(smooth, bool):
        raise Problem(422, f"smooth: {str(smooth)[:40]!r} is neither true nor false")
    options = check_controls(first, PHOTO_CONTROLS)
    focal_ratio = (await service.describe())["reconstruction"].focal_ratio
    reader, inbox = _Reader(service, focal_ratio, choice, smooth), _Inbox()
    about = {} if source is None else await asyncio.to_thread(of_source, source)
    await socket.send_json({"ready": True, "camera": True, "names": list(ARKIT_NAMES), **about})
    tasks = [
        asyncio.ensure_future(_receive_into(inbox, socket, service)),
        asyncio.ensure_future(_work(inbox, socket, service, reader, source, options)),
    ]
    try:
        done, _ = await asyncio.wait(tasks, timeout=limits.stream_seconds, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
    await socket.close(1000)


def of_source(source: FittedFace) -> dict[str, Any]:
    """What is answered to a photo that is to be driven, JSON-serialisable."""
    height, width = source.photo.image.shape[:2]
    return {
        "width": width,
        "height": height,
        "expression": source.expression,
        "confidence": round(source.confidence, 4),
        "notes": photo_notes(source),
    }


async def _receive_into(inbox: _Inbox, socket: WebSocket, service: Service) -> None:
    limits = service.settings.limits
    while True:
        try:
            inbox.put(await receive(socket, limits.stream_idle_seconds, _MESSAGE_CHARACTERS, limits.frame_bytes))
        except Problem as problem:
            if problem.status in (408, 413):
                raise
            inbox.put(problem)


async def _work(
    inbox: _Inbox,
    socket: WebSocket,
    service: Service,
    reader: _Reader,
    source: FittedFace | None,
    options: DrivingOptions,
) -> None:
    reference: FaceArrays | None = None
    limit = service.settings.limits.stream_idle_seconds
    while True:
        frame, text, problem = await inbox.take()
        if problem is not None:
            await send(socket, limit, problem.document)
        try:
            if text is not None:
                options, anew = _changed(options, text)
                reference = None if anew else reference
            if frame is None:
                continue
            shown, driving = await reader.read(frame)
        except Problem as problem:
            await send(socket, limit, problem.document | ({} if frame is None else {"frame": frame.number}))
            continue
        drives = source is not None and driving is not None
        milliseconds = round(1000 * (time.monotonic() - frame.arrived), 1)
        head = {"frame": frame.number, "dropped": inbox.dropped, "milliseconds": milliseconds, "picture": drives}
        await send(socket, limit, {**head, **shown})
        if source is not None and driving is not None:
            reference = reference or driving
            target = drive(source.fit.face, driving, options, reference)
            image, network = await reenact(service, source, target, options.affects_whole_crop)
            with service.stage("encode"):
                content = await asyncio.to_thread(encode_image, image, service.mark(network), "jpeg", _QUALITY)
            await send(socket, limit, content)


def _changed(options: DrivingOptions, text: dict[str, Any]) -> tuple[DrivingOptions, bool]:
    """The options after a message, and whether motion refers to the next frame from now on. Raises Problem."""
    known = (*PHOTO_CONTROLS, "reference")
    if unknown := sorted(set(text) - set(known)):
        raise Problem(422, f"unknown field {unknown[0][:60]!r}; send frames as bytes, or {', '.join(known)}")
    if text.get("reference", "now") != "now":
        raise Problem(422, "reference: before a camera it is `now`, the next frame that shows the face")
    changed = asdict(check_controls(text, PHOTO_CONTROLS))
    given = {name: changed[name] for name in PHOTO_CONTROLS if name in text}
    return make_options({**asdict(options), **given}), "reference" in text
