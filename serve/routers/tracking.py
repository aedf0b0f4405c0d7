"""``POST /v1/track``: the face of a video, frame by frame, as a capture, as JSON, or as an animated mesh."""

from __future__ import annotations

import asyncio
import json
from base64 import b64encode
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request, params
from fastapi.responses import Response, StreamingResponse

from jr2net.face.arkit import ARKIT_NAMES
from jr2net.images.signatures import file_format
from jr2net.images.video import VideoError, VideoFrame, probe_video, up_to_damage
from jr2net.images.video_file import CONTAINERS, VideoFile, is_video
from jr2net.inference.assembly import TrackedFrame, assemble
from jr2net.inference.confidence import LOW
from jr2net.inference.face import rounded
from jr2net.inference.face_track import FaceTrack, NeutralError, Smoothing
from jr2net.inference.following import FaceChoice, FaceFollower, FollowedFrame, PictureCamera
from jr2net.inference.messages import ModelInfo
from jr2net.inference.photo import NoFaceError, Photo
from jr2net.inference.tracker import LiveSmoother
from serve.bodies import (
    get_video,
    media_type,
    notes_header,
    parse_box,
    read_form,
    read_spooled,
    reject_unknown_fields,
    reject_unknown_query,
)
from serve.documents import BODIES, RESPONSES
from serve.problems import Problem, network_errors_as_503
from serve.reenact import map_in_order, open_follower
from serve.routers.reconstruction import Box, FaceIndex
from serve.service import Service
from serve.settings import video_limits
from serve.uploads import as_video

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
Files = Annotated[
    str | None,
    Query(
        description="of ndjson: whole tracks that follow the frames, e.g. csv,json,glb; smoothed two-sided by default; "
        "`neutral` is subtracted in them, not in the lines",
        max_length=20,
    ),
]
Neutral = Annotated[
    str | None, Query(description="subtract the resting face: seconds of a frame that shows it, or auto", max_length=20)
]


def tracking_router(service: Service, guards: Sequence[params.Depends]) -> APIRouter:
    router = APIRouter(dependencies=[*guards, Depends(reject_unknown_query)])
    limits = service.settings.limits

    @router.post("/v1/track", responses=RESPONSES["track"], openapi_extra=BODIES["track"])
    async def track(
        request: Request,
        format: Format = "json",
        smooth: Smooth = None,
        neutral: Neutral = None,
        files: Files = None,
        box: Box = None,
        face: FaceIndex = 0,
    ) -> Response:
        """Tracks one person's face through a video: 51 ARKit coefficients and the head's pose of every frame."""
        video = await _video(request)
        resting, wanted = _neutral(neutral), _files(files, format)
        if format == "ndjson" and (smooth == "two-sided" or (resting is not None and not wanted)):
            field = "smooth=two-sided" if smooth == "two-sided" else "neutral"
            raise Problem(422, f"{field} needs the whole video, and ndjson is sent frame by frame; use another format")
        try:
            shape = await asyncio.to_thread(probe_video, video, video_limits(limits))
        except VideoError as error:
            raise Problem.from_error(error, "video") from None
        ended: list[str] = []
        follow = open_follower(service, shape.fps, FaceChoice.of(face, parse_box(box)), "video")
        frames = _tracked(up_to_damage(video, video_limits(limits), ended), follow)

        def notes() -> tuple[str, ...]:
            return (*follow.notes(), *ended)

        async def whole(kept: list[TrackedFrame], wanted: Sequence[str]) -> AsyncIterator[bytes]:
            """The files of a track, a line each; none where no frame shows the face."""
            if not wanted or all(frame.face is None for frame in kept):
                return
            network = (await service.describe())["reconstruction"]
            try:
                track = await asyncio.to_thread(assembled, kept, network, smooth or "two-sided")
            except NeutralError as error:  # too late for a status
                ended.append(f"there are no files: {error}")
                return
            for kind in wanted:
                content = await asyncio.to_thread(_encode, track, kind)
                yield _line({"file": kind, "base64": b64encode(content).decode()})

        def assembled(frames: Sequence[TrackedFrame], network: ModelInfo, smoothing: Smoothing) -> FaceTrack:
            found = assemble(frames, "video", service.model, network)
            found = replace(found, notes=(*follow.notes(), *found.notes, *ended)).smoothed(smoothing)
            return found if resting is None else found.relative_to(resting)

        if format == "ndjson":
            smoother = LiveSmoother(shape.fps if shape.regular else None) if smooth != "none" else None
            kept = list[TrackedFrame]()
            lines = _lines(_keeping(frames, kept) if wanted else frames, smoother, notes, partial(whole, kept, wanted))
            with network_errors_as_503():
                first = [await anext(lines), await anext(lines)]
            return StreamingResponse(_chain(first, lines), media_type=_MEDIA_TYPES[format])
        with network_errors_as_503():
            tracked = [frame async for frame in _while_connected(request, frames)]
            network = (await service.describe())["reconstruction"]

        def encode() -> tuple[bytes, tuple[str, ...]]:
            follow.check_found()
            found = assembled(tracked, network, smooth or "two-sided")
            return _encode(found, format), found.notes

        with service.stage("encode"):
            try:
                content, said = await asyncio.to_thread(encode)
            except (NoFaceError, NeutralError) as error:
                raise Problem(422, str(error)) from None
        headers = {"X-Model-Digest": network.digest, **notes_header(said)}
        return Response(content, media_type=_MEDIA_TYPES[format], headers=headers)

    async def _video(request: Request) -> VideoFile:
        if media_type(request) == "multipart/form-data":
            form = await read_form(request, limits)
            reject_unknown_fields(form, ("video",))
            video = await get_video(form, "video") or VideoFile.of(b"")
        else:
            video = as_video(await read_spooled(request, limits))
        if not is_video(video):
            what = f"; this is {name}" if (name := file_format(video.head)) else ""
            raise Problem(415, f"video: send an {CONTAINERS} video as the body, or as the file `video`{what}")
        return video

    async def _tracked(frames: Iterator[VideoFrame], follow: FaceFollower) -> AsyncIterator[TrackedFrame]:
        """The frames in order, several of them in flight."""
        camera = PictureCamera((await service.describe())["reconstruction"].focal_ratio)

        def follow_next() -> tuple[float, FollowedFrame] | None:
            frame = next(frames, None)
            with service.stage("find"):
                return None if frame is None else (frame.seconds, follow(frame.image))

        async def followed() -> AsyncIterator[tuple[float, FollowedFrame]]:
            while (found := await asyncio.to_thread(follow_next)) is not None:
                yield found

        async def fit(found: tuple[float, FollowedFrame]) -> tuple[TrackedFrame, Photo | None]:
            """The frame with its face as the crop's camera sees it, and its photo."""
            seconds, (photo, begins) = found[0], (found[1].photo, found[1].begins)
            if photo is None:
                return TrackedFrame(seconds, None, begins), None
            fitted = await service.fit(photo)
            sure = await asyncio.to_thread(follow.confidence, photo, fitted.landmarks)
            return TrackedFrame(seconds, fitted.fit.face, begins, photo.crop, sure), photo

        async for frame, photo in map_in_order(fit, followed()):
            # The first face placed decides the camera's focal length: in order, not as the fits arrive.
            yield frame if photo is None or frame.face is None else replace(frame, face=camera.place(frame.face, photo))

    return router


async def _while_connected(request: Request, frames: AsyncIterator[TrackedFrame]) -> AsyncIterator[TrackedFrame]:
    """Raises Problem once the client has gone."""
    async for frame in frames:
        yield frame
        if await request.is_disconnected():
            raise Problem(400, "the client has gone")


def _encode(track: FaceTrack, format: str) -> bytes:
    if format == "csv":
        return track.to_csv()
    return track.to_glb() if format == "glb" else json.dumps(track.to_json()).encode()


async def _keeping(frames: AsyncIterator[TrackedFrame], kept: list[TrackedFrame]) -> AsyncIterator[TrackedFrame]:
    async for frame in frames:
        kept.append(frame)
        yield frame


async def _lines(
    frames: AsyncIterator[TrackedFrame],
    smooth: LiveSmoother | None,
    notes: Callable[[], tuple[str, ...]],
    files: Callable[[], AsyncIterator[bytes]],
) -> AsyncIterator[bytes]:
    """A line that names the coefficients, one for each frame, those of the files, and one with the numbers of frames
    and the notes."""
    yield _line({"names": list(ARKIT_NAMES)})
    count = seen = doubtful = 0
    async for frame in frames:
        shown = frame if smooth is None else smooth(frame)
        count, seen = count + 1, seen + (shown.face is not None)
        face = shown.face or {}
        values = {name: rounded(face[name], 4) if face else None for name in ("expression", "rotation", "translation")}
        marks: dict[str, Any] = {"cut": True} if shown.begins else {}
        if face and frame.confidence == frame.confidence:  # it is known
            marks |= {"confidence": round(frame.confidence, 3)}
            if frame.confidence < LOW:
                marks, doubtful = {**marks, "doubtful": True}, doubtful + 1
        yield _line({"seconds": round(shown.seconds, 4), **values, **marks})
    async for line in files():
        yield line
    counted = (f"{count - seen} of {count} frames show no face",) * (seen < count)
    counted += (f"{doubtful} of {count} frames have a confidence below {LOW}",) * bool(doubtful)
    yield _line({"done": True, "frames": count, "frames_with_face": seen, "notes": [*notes(), *counted]})


def _line(values: dict[str, Any]) -> bytes:
    return (json.dumps(values) + "\n").encode()


def _files(text: str | None, format: str) -> tuple[str, ...]:
    """Raises Problem 422."""
    kinds = tuple(filter(None, (text or "").split(",")))
    if text is not None and format != "ndjson":
        raise Problem(422, "files follow the lines of format=ndjson; of another format send a request for each")
    if unknown := [kind for kind in kinds if kind not in ("csv", "json", "glb")]:
        raise Problem(422, f"files: {unknown[0]!r} is none of csv, json, glb")
    return tuple(dict.fromkeys(kinds))


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
