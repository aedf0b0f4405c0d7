"""Photos that act: what the driving face is, and the photo with it; single pictures, and videos frame by frame."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from jr2net.expressions.tracks import Track, TrackError, parse_csv
from jr2net.face.parameters import FaceParameters
from jr2net.images.video import Mp4Writer, VideoError, VideoLimits, probe_video, read_video
from jr2net.inference.compositing import composite
from jr2net.inference.portrait import Portrait
from jr2net.inference.smoothing import CropSmoother, FaceSmoother
from jr2net.render.scene import recombine
from serve.networks import FaceArrays, Fit, ModelInfo, to_arrays, to_parameters
from serve.problems import Problem
from serve.service import Service

_FASTEST = 30.0  # frames a second of what is made
_AT_ONCE = 8  # frames of one video under way, so that they meet in batches
_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


@dataclass(frozen=True)
class Source:
    """The photo that acts, and its fit."""

    portrait: Portrait
    fit: Fit


@dataclass(frozen=True)
class Switches:
    """What is taken from the driving side beside the expression, and how.

    relative  what is given is added to the source's own expression (and pose); of a video or capture, its change since
              the first frame
    """

    pose: bool = False
    light: bool = False
    relative: bool = False
    smooth: bool = True

    @property
    def whole(self) -> bool:
        """Whether the picture changes beyond the face."""
        return self.pose or self.light


def expressed(source: FaceArrays, expression: np.ndarray, relative: bool) -> FaceArrays:
    """The source with coefficients (51,), or with its own plus these."""
    wanted = (source["expression"] + expression).clip(0, 1) if relative else expression
    return {**source, "expression": wanted.astype(np.float32)}


def driven(source: FaceArrays, driving: FaceArrays, switches: Switches) -> FaceArrays:
    """The source as the driving face acts."""
    mixed = recombine(to_parameters([source]), to_parameters([driving]), switches.pose, switches.light)
    return to_arrays(mixed)


async def play(service: Service, source: Source, driving: FaceArrays, whole: bool) -> tuple[np.ndarray, ModelInfo]:
    """The photo (H, W, 3) with the driving face, and the network that made it."""
    portrait = source.portrait
    played = await service.play(portrait, source.fit.face, driving)

    def finish() -> np.ndarray:
        with service.stage("composite"):
            return composite(portrait.photo, portrait.crop, played.act, whole)

    return await asyncio.to_thread(finish), played.network


async def film(service: Service, source: Source, content: bytes, switches: Switches) -> AsyncIterator[bytes]:
    """The photo acting as a driving video or an ARKit CSV does: the pieces of an MP4. Raises Problem at the start."""
    if content[4:8] == b"ftyp" or content[:4] == b"\x1a\x45\xdf\xa3":
        fps, faces = _follow_video(service, source.fit.face, content, switches)
    else:
        fps, faces = _follow_capture(service, source.fit.face, content, switches)

    async def frame(driving: FaceArrays) -> tuple[np.ndarray, ModelInfo]:
        return await play(service, source, driving, switches.whole)

    writer = None
    async for picture, network in _ahead(faces, frame):
        if writer is None:
            height, width = picture.shape[:2]
            writer = Mp4Writer(width, height, fps, service.mark(network))
        with service.stage("encode"):
            piece = await asyncio.to_thread(writer.add, picture)
        if piece:
            yield piece
    if writer is not None:
        yield await asyncio.to_thread(writer.finish)


def _follow_capture(
    service: Service, source: FaceArrays, content: bytes, switches: Switches
) -> tuple[float, AsyncIterator[FaceArrays]]:
    """Frames a second, and the source's face with each frame's coefficients. A capture drives the expression alone."""
    if switches.whole:
        raise Problem(422, "pose and light: a capture drives the expression alone; leave them off, or send a video")
    try:
        track = parse_csv(content, "driving")
    except TrackError as error:
        raise Problem(422 if content[:1].isascii() and b"\0" not in content[:512] else 415, str(error)) from None
    limit = service.settings.limits.video_seconds
    if len(track) / track.fps > limit:
        raise Problem(413, f"driving: the capture lasts {len(track) / track.fps:.0f} s; cut it to {limit:g} s")
    step = max(1, round(track.fps / _FASTEST))
    return track.fps / step, _capture_faces(track, step, source, switches.relative)


async def _capture_faces(track: Track, step: int, source: FaceArrays, relative: bool) -> AsyncIterator[FaceArrays]:
    first = track.expression[0] if relative else 0
    for expression in track.expression[::step]:
        yield expressed(source, expression - first, relative)


def _follow_video(
    service: Service, source: FaceArrays, content: bytes, switches: Switches
) -> tuple[float, AsyncIterator[FaceArrays]]:
    limits = service.settings.limits
    bounds = VideoLimits(limits.video_seconds, limits.video_pixels, round(limits.video_seconds * 120))
    try:
        shape = probe_video(content, bounds)
    except VideoError as error:
        raise Problem.of(error, "driving") from None
    step = max(1, round(shape.fps / _FASTEST))
    fps = shape.fps / step
    return fps, _video_faces(service, source, read_video(content, bounds), step, fps, switches)


async def _video_faces(
    service: Service, source: FaceArrays, frames: Iterator[np.ndarray], step: int, fps: float, switches: Switches
) -> AsyncIterator[FaceArrays]:
    """Each frame's face: found, cropped, fitted, smoothed (1 €), mixed into the source.

    A frame without a face repeats the one before; a first frame without one is refused.
    """
    steady, smooth = CropSmoother(fps), FaceSmoother(fps)

    async def portraits() -> AsyncIterator[Portrait]:
        last = None
        while (frame := await asyncio.to_thread(_skip_to, frames, step)) is not None:
            try:
                found = await asyncio.to_thread(service.find, frame, None, 0, "driving, first frame")
                crop = steady(found.crop) if switches.smooth else found.crop
                last = Portrait(frame, found.face, crop, found.found)
            except Problem:
                if last is None:
                    raise
            yield last

    async def fit(portrait: Portrait) -> FaceParameters:
        return to_parameters([(await service.fit(portrait)).face])

    origin = None
    async for fitted in _ahead(portraits(), fit):
        face = smooth(fitted) if switches.smooth else fitted
        origin = origin or face
        if switches.relative:
            face = _since(origin, face, to_parameters([source]))
        yield driven(source, to_arrays(face), switches)


def _since(origin: FaceParameters, face: FaceParameters, source: FaceParameters) -> FaceParameters:
    """The source with what has changed between two driving faces added to it."""
    return face.replace(
        expression=(source.expression + face.expression - origin.expression).clamp(0, 1),
        rotation=source.rotation + face.rotation - origin.rotation,
        translation=source.translation + face.translation - origin.translation,
    )


def _skip_to(frames: Iterator[np.ndarray], step: int) -> np.ndarray | None:
    """Every ``step``-th frame; None at the end, or where the rest is damaged."""
    try:
        frame = next(frames, None)
        for _ in range(step - 1):
            next(frames, None)
    except VideoError:
        return None
    return frame


async def _ahead(items: AsyncIterator[_Item], work: Callable[[_Item], Awaitable[_Result]]) -> AsyncIterator[_Result]:
    """Results in the order of the items, some of them worked on at once."""
    tasks: list[asyncio.Task] = []
    try:
        async for item in items:
            tasks.append(asyncio.ensure_future(work(item)))
            if len(tasks) >= _AT_ONCE:
                yield await tasks.pop(0)
        while tasks:
            yield await tasks.pop(0)
    finally:
        for task in tasks:
            task.cancel()
