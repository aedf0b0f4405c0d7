"""Photos that act over HTTP: single images, and films frame by frame, several frames in flight at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from typing import TypeVar

import numpy as np

from jr2net.expressions.tracks import TrackError, parse_csv
from jr2net.images.video import Mp4Writer, VideoError, VideoLimits, probe_video, read_video
from jr2net.inference.compositing import composite
from jr2net.inference.driving import (
    DrivingOptions,
    VideoFollower,
    faces_of_capture,
    frame_step,
    is_video,
    next_frame,
)
from jr2net.inference.face import FittedFace
from jr2net.inference.messages import FaceArrays, ModelInfo
from jr2net.inference.photo import NoFaceError, Photo
from serve.problems import Problem
from serve.service import Service

_FRAMES_IN_FLIGHT = 8  # of one film, so that they meet in batches
_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


async def reenact(
    service: Service, source: FittedFace, driving: FaceArrays, whole: bool
) -> tuple[np.ndarray, ModelInfo]:
    """The photo (H, W, 3) with the driving face, and the network that generated it."""
    result = await service.reenact(source, driving)

    def finish() -> np.ndarray:
        with service.stage("composite"):
            return composite(source.photo.image, source.photo.crop, result.crop, whole)

    return await asyncio.to_thread(finish), result.network


async def film(service: Service, source: FittedFace, content: bytes, options: DrivingOptions) -> AsyncIterator[bytes]:
    """The photo acting as a video or an ARKit CSV does: the pieces of an MP4. Raises Problem before the first piece."""
    follow = _follow_video if is_video(content) else _follow_capture
    fps, faces = follow(service, source, content, options)

    async def frame(driving: FaceArrays) -> tuple[np.ndarray, ModelInfo]:
        return await reenact(service, source, driving, options.moves_surroundings)

    writer = None
    async for image, network in _in_order(faces, frame):
        if writer is None:
            height, width = image.shape[:2]
            writer = Mp4Writer(width, height, fps, service.mark(network))
        with service.stage("encode"):
            piece = await asyncio.to_thread(writer.add, image)
        if piece:
            yield piece
    if writer is not None:
        yield await asyncio.to_thread(writer.finish)


def _follow_capture(
    service: Service, source: FittedFace, content: bytes, options: DrivingOptions
) -> tuple[float, AsyncIterator[FaceArrays]]:
    """Frames per second, and the source's face with each frame's coefficients."""
    if options.moves_surroundings:
        raise Problem(422, "pose and light: a capture drives the expression alone; leave them off, or send a video")
    try:
        track = parse_csv(content, "driving")
    except TrackError as error:
        raise Problem(422 if content[:1].isascii() and b"\0" not in content[:512] else 415, str(error)) from None
    limit = service.settings.limits.video_seconds
    if len(track) / track.fps > limit:
        raise Problem(413, f"driving: the capture lasts {len(track) / track.fps:.0f} s; cut it to {limit:g} s")
    faces = faces_of_capture(track, source.fit.face, options.relative)
    return track.fps / frame_step(track.fps), _asynchronous(faces)


def _follow_video(
    service: Service, source: FittedFace, content: bytes, options: DrivingOptions
) -> tuple[float, AsyncIterator[FaceArrays]]:
    limits = service.settings.limits
    bounds = VideoLimits(limits.video_seconds, limits.video_pixels, round(limits.video_seconds * 120))
    try:
        shape = probe_video(content, bounds)
    except VideoError as error:
        raise Problem.of(error, "driving") from None
    step = frame_step(shape.fps)
    follower = VideoFollower(source.fit.face, shape.fps / step, options)
    return follower.fps, _video_faces(service, read_video(content, bounds), step, follower)


async def _video_faces(
    service: Service, frames: Iterator[np.ndarray], step: int, follower: VideoFollower
) -> AsyncIterator[FaceArrays]:
    """What the source should show in each frame. Raises Problem where the first frame has no face."""

    def locate(frame: np.ndarray) -> Photo:
        try:
            with service.stage("find"):
                return follower.locate(frame, service.detector)
        except NoFaceError as error:
            raise Problem(422, str(error)) from None

    async def photos() -> AsyncIterator[Photo]:
        while (frame := await asyncio.to_thread(next_frame, frames, step)) is not None:
            yield await asyncio.to_thread(locate, frame)

    async for fitted in _in_order(photos(), service.fit):
        yield follower.follow(fitted.fit)


async def _asynchronous(items: Iterable[_Item]) -> AsyncIterator[_Item]:
    for item in items:
        yield item


async def _in_order(items: AsyncIterator[_Item], work: Callable[[_Item], Awaitable[_Result]]) -> AsyncIterator[_Result]:
    """Results in the order of the items, up to ``_FRAMES_IN_FLIGHT`` of them worked on at once."""
    tasks: list[asyncio.Task] = []
    try:
        async for item in items:
            tasks.append(asyncio.ensure_future(work(item)))
            if len(tasks) >= _FRAMES_IN_FLIGHT:
                yield await tasks.pop(0)
        while tasks:
            yield await tasks.pop(0)
    finally:
        for task in tasks:
            task.cancel()
