"""``POST /v1/track``: the face of a video, frame by frame, as a capture, as JSON, or as an animated mesh."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from fastapi.params import Depends
from fastapi.responses import Response, StreamingResponse

from jr2net.face.arkit import ARKIT_NAMES
from jr2net.images.video import VideoError, VideoFrame, VideoLimits, probe_video, read_frames
from jr2net.inference.assembly import TrackedFrame, assemble
from jr2net.inference.driving import is_video
from jr2net.inference.face import rounded
from jr2net.inference.face_track import NeutralError, Smoothing
from jr2net.inference.following import FaceFollower, FollowedFrame, PictureCamera
from jr2net.inference.photo import NoFaceError
from jr2net.inference.tracker import LiveSmoother
from serve.bodies import get_file, media_type, parse_box, read_body, read_form, reject_unknown_fields
from serve.documents import BODIES, RESPONSES
from serve.problems import Problem, network_errors_as_503
from serve.reenact import map_in_order
from serve.routers.reconstruction import Box, FaceIndex
from serve.service import Service

_MEDIA_TYPES = {
    "json": "application/json",
    "csv": "text/csv",
    "glb": "model/gltf-binary",
    "ndjson": "application/x-ndjson",
}

Format = Annotated[Literal["json", "ndjson", "csv", "glb"], Query(description="format; ndjson comes frame by frame")]
Smooth = Annotated[
    Literal["two-sided", "causal", "none"] | None,
    Query(description="smoothing over time; default: two-sided, of ndjson causal"),
]
Neutral = Annotated[
    str | None, Query(description="subtract the resting face: seconds of a frame that shows it, or auto", max_length=20)
]


def tracking_router(service: Service, guards: Sequence[Depends]) -> APIRouter:
    router = APIRouter(dependencies=guards)
    limits = service.settings.limits
    video_limits = VideoLimits(limits.video_seconds, limits.video_pixels, round(limits.video_seconds * 120))

    @router.post("/v1/track", responses=RESPONSES["track"], openapi_extra=BODIES["track"])
    async def track(
        request: Request,
        format: Format = "json",
        smooth: Smooth = None,
        neutral: Neutral = None,
        box: Box = None,
        face: FaceIndex = 0,
    ) -> Response:
        """Tracks one person's face through a video: 51 ARKit coefficients and the head's pose of every frame."""
        content = await _video(request)
        resting = _neutral(neutral)
        if format == "ndjson" and (smooth == "two-sided" or resting is not None):
            field = "smooth=two-sided" if smooth == "two-sided" else "neutral"
            raise Problem(422, f"{field} needs the whole video, and ndjson is sent frame by frame; use another format")
        if service.detector is None:
            raise Problem(422, "tracking needs a face detector, and none is installed here")
        try:
            shape = await asyncio.to_thread(probe_video, content, video_limits)
        except VideoError as error:
            raise Problem.from_error(error, "video") from None
        frames = _tracked(content, FaceFollower(service.detector, face, parse_box(box)))
        if format == "ndjson":
            causal = LiveSmoother(shape.fps) if smooth != "none" else None
            lines = _lines(frames, causal)
            with network_errors_as_503():
                first = [await anext(lines), await anext(lines)]
            return StreamingResponse(_chain(first, lines), media_type=_MEDIA_TYPES[format])
        with network_errors_as_503():
            return await _whole(request, frames, format, smooth or "two-sided", resting)

    async def _video(request: Request) -> bytes:
        body = await read_body(request, limits)
        if media_type(request) == "multipart/form-data":
            form = await read_form(request, body, limits)
            reject_unknown_fields(form, ("video",))
            body = await get_file(form, "video") or b""
        if not is_video(body):
            raise Problem(415, "video: send an MP4, MOV, WebM or Matroska video as the body, or as the file `video`")
        return body

    async def _tracked(content: bytes, follow: FaceFollower) -> AsyncIterator[TrackedFrame]:
        """The frames in order, several of them in flight. Raises Problem."""
        network = (await service.describe())["reconstruction"]
        camera, frames = PictureCamera(network.focal_ratio), read_frames(content, video_limits)

        async def followed() -> AsyncIterator[FollowedFrame]:
            while (frame := await asyncio.to_thread(_next, frames, follow)) is not None:
                yield frame

        async def fit(frame: FollowedFrame) -> tuple[FollowedFrame, Any]:
            return frame, None if frame.photo is None else (await service.fit(frame.photo)).fit.face

        async for frame, fitted in map_in_order(fit, followed()):
            if frame.photo is None:
                yield TrackedFrame(frame.seconds, None, frame.begins)
            else:
                yield TrackedFrame(frame.seconds, camera.place(fitted, frame.photo), frame.begins, frame.photo.crop)

    def _next(frames: Iterator[VideoFrame], follow: FaceFollower) -> FollowedFrame | None:
        """The next frame; None at the end, or where the rest is damaged."""
        try:
            frame = next(frames, None)
        except VideoError:
            return None
        with service.stage("find"):
            return None if frame is None else follow(frame)

    async def _whole(
        request: Request, frames: AsyncIterator[TrackedFrame], format: str, smooth: Smoothing, neutral: Any
    ) -> Response:
        tracked = []
        async for frame in frames:
            tracked.append(frame)
            if await request.is_disconnected():
                raise Problem(400, "the client has gone")
        network = (await service.describe())["reconstruction"]

        def encode() -> bytes:
            found = assemble(tracked, "video", service.model, network).smoothed(smooth)
            found = found if neutral is None else found.relative_to(neutral)
            if format == "csv":
                return found.to_csv()
            return found.to_glb() if format == "glb" else json.dumps(found.to_json()).encode()

        with service.stage("encode"):
            try:
                content = await asyncio.to_thread(encode)
            except (NoFaceError, NeutralError) as error:
                raise Problem(422, str(error)) from None
        return Response(content, media_type=_MEDIA_TYPES[format], headers={"X-Model-Digest": network.digest})

    return router


async def _lines(frames: AsyncIterator[TrackedFrame], smooth: LiveSmoother | None) -> AsyncIterator[bytes]:
    """A line that names the coefficients, one for each frame, and one with their numbers."""
    yield _line({"names": list(ARKIT_NAMES)})
    count = seen = 0
    async for frame in frames:
        shown = frame if smooth is None else smooth(frame)
        count, seen = count + 1, seen + (shown.face is not None)
        face = shown.face or {}
        values = {name: rounded(face[name], 4) if face else None for name in ("expression", "rotation", "translation")}
        yield _line({"seconds": round(shown.seconds, 4), **values, **({"cut": True} if shown.begins else {})})
    yield _line({"done": True, "frames": count, "frames_with_face": seen})


def _line(values: dict[str, Any]) -> bytes:
    return (json.dumps(values) + "\n").encode()


def _neutral(text: str | None) -> float | Literal["auto"] | None:
    """Raises Problem 422."""
    if text is None or text == "auto":
        return text  # type: ignore[return-value]
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < 1e6:
        raise Problem(422, f"neutral: {text!r} is neither seconds nor auto")
    return seconds


async def _chain(first: list[bytes], rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    for chunk in first:
        yield chunk
    async for chunk in rest:
        yield chunk
