"""Reenactment over HTTP: single images, and videos frame by frame with several frames in flight at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from jr2net.expressions.columns import NotACaptureError
from jr2net.expressions.tracks import Track, TrackError, parse_capture
from jr2net.images.photo import photo_format
from jr2net.images.video import Mp4Writer, VideoError, VideoLimits, VideoShape, probe_video, read_video
from jr2net.inference.compositing import composite
from jr2net.inference.control import ControlError, DrivingOptions, amount_of_expression, drive
from jr2net.inference.driving import (
    VideoTracker,
    frame_step,
    is_video,
    next_frame,
    reference_frame,
)
from jr2net.inference.face import FittedFace
from jr2net.inference.messages import FaceArrays, ModelInfo
from jr2net.inference.photo import NoFaceError, Photo
from serve.control import of_expression
from serve.problems import Problem
from serve.service import Service

_FRAMES_IN_FLIGHT = 8  # of one video, so that its frames share batches
_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


async def reenact(
    service: Service, source: FittedFace, driving: FaceArrays, whole_crop: bool
) -> tuple[np.ndarray, ModelInfo]:
    """The source photo (H, W, 3) uint8 with the driving face, and the network that generated it.

    whole_crop: as of ``composite``.
    """
    result = await service.reenact(source, driving)

    def composite_result() -> np.ndarray:
        with service.stage("composite"):
            return composite(source.photo.image, source.photo.crop, result.crop, whole_crop)

    return await asyncio.to_thread(composite_result), result.network


@dataclass(frozen=True)
class Driving:
    """What drives a video.

    faces  each frame's driving face and that of the frame of reference; of captures and coefficients the expression
    fps    frames per second; 0: one face for all instants
    notes  ``Track.notes`` of a capture
    """

    faces: AsyncIterator[tuple[FaceArrays, FaceArrays | None]]
    fps: float
    options: DrivingOptions
    notes: tuple[str, ...] = ()


async def open_driving(service: Service, content: bytes, options: DrivingOptions) -> Driving:
    """The driving faces of a video or a capture. Raises Problem."""
    if is_video(content):
        return _driving_video(service, content, options)
    if kind := photo_format(content):
        raise Problem(415, f"driving: is a photo ({kind}); send it to /v1/reenact, or send a video or a capture")
    options = of_expression(options, "a capture drives")
    track = await open_capture(content, "driving")
    limit = service.settings.limits.video_seconds
    if len(track) / track.fps > limit:
        raise Problem(413, f"driving: the capture lasts {len(track) / track.fps:.0f} s; cut it to {limit:g} s")
    try:
        reference = {"expression": track.expression[reference_frame(track, options)]}
    except ControlError as error:
        raise Problem(422, str(error)) from None
    step = frame_step(track.fps)
    faces = (({"expression": frame}, reference) for frame in track.expression[::step])
    return Driving(_to_async(faces), track.fps / step, options, track.notes)


async def open_capture(content: bytes, name: str) -> Track:
    """A capture in CSV or JSON. Raises Problem: 415 for a file of another kind, 422 for a capture that is unusable."""
    try:
        return await asyncio.to_thread(parse_capture, content, name)
    except TrackError as error:
        raise Problem(415 if isinstance(error, NotACaptureError) else 422, str(error)) from None


async def generate_video(service: Service, source: FittedFace, driving: Driving) -> AsyncIterator[bytes]:
    """The source photo, driven, as the chunks of an MP4. Raises Problem before the first."""
    options = driving.options

    async def generate_frame(pair: tuple[FaceArrays, FaceArrays | None]) -> tuple[np.ndarray, ModelInfo]:
        face, reference = pair
        target = drive(source.fit.face, face, options, reference)
        return await reenact(service, source, target, options.affects_whole_crop)

    async for chunk in encode_frames(service, map_in_order(generate_frame, driving.faces), driving.fps):
        yield chunk


async def encode_frames(
    service: Service, frames: AsyncIterator[tuple[np.ndarray, ModelInfo]], fps: float
) -> AsyncIterator[bytes]:
    """Images (H, W, 3) uint8 of one size and the network that made them, as the chunks of an MP4."""
    writer = None
    async for image, network in frames:
        if writer is None:
            height, width = image.shape[:2]
            writer = Mp4Writer(width, height, fps, service.mark(network))
        with service.stage("encode"):
            chunk = await asyncio.to_thread(writer.add, image)
        if chunk:
            yield chunk
    if writer is not None:
        yield await asyncio.to_thread(writer.finish)


def open_clip(service: Service, content: bytes, name: str) -> tuple[VideoLimits, VideoShape]:
    """The limits of a video that is sent, and what its header says. Raises Problem."""
    limits = service.settings.limits
    video_limits = VideoLimits(limits.video_seconds, limits.video_pixels, round(limits.video_seconds * 120))
    try:
        return video_limits, probe_video(content, video_limits)
    except VideoError as error:
        raise Problem.from_error(error, name) from None


def _driving_video(service: Service, content: bytes, options: DrivingOptions) -> Driving:
    limits, shape = open_clip(service, content, "driving")
    step = frame_step(shape.fps)

    def frames() -> Iterator[np.ndarray]:
        return read_video(content, limits)

    async def faces() -> AsyncIterator[tuple[FaceArrays, FaceArrays | None]]:
        tracker = VideoTracker(shape.fps / step, options)
        if options.needs_reference and options.reference != "first":
            tracker.reference = await _find_reference(_track_faces(service, frames(), step, tracker), tracker)
            tracker = VideoTracker(tracker.fps, options, tracker.reference)
        async for face in _track_faces(service, frames(), step, tracker):
            yield face, tracker.reference

    return Driving(faces(), shape.fps / step, options)


async def _find_reference(faces: AsyncIterator[FaceArrays], tracker: VideoTracker) -> FaceArrays:
    """The driving face of the frame of reference; the video is read as far as is needed. Raises Problem."""
    options, least, number = tracker.options, None, -1
    async for face in faces:
        number += 1
        if options.reference == "neutral":
            if least is None or amount_of_expression(face["expression"]) < amount_of_expression(least["expression"]):
                least = face
        elif number >= round(options.reference * tracker.fps):
            return face
    if least is None:
        seconds = (number + 1) / tracker.fps
        raise Problem(422, f"reference: {options.reference} s lies beyond the driving's end; it lasts {seconds:.2f} s")
    return least


async def _track_faces(
    service: Service, frames: Iterator[np.ndarray], step: int, tracker: VideoTracker
) -> AsyncIterator[FaceArrays]:
    """The driving face of each frame. Raises Problem if the first frame shows no face."""

    def locate(frame: np.ndarray) -> Photo:
        try:
            with service.stage("find"):
                return tracker.locate(frame, service.detector)
        except NoFaceError as error:
            raise Problem(422, str(error)) from None

    async def photos() -> AsyncIterator[Photo]:
        while (frame := await asyncio.to_thread(next_frame, frames, step)) is not None:
            yield await asyncio.to_thread(locate, frame)

    async for fitted in map_in_order(service.fit, photos()):
        face = tracker.track(fitted.fit)
        tracker.reference = tracker.reference or face
        yield face


async def _to_async(items: Iterable[_Item]) -> AsyncIterator[_Item]:
    for item in items:
        yield item


async def map_in_order(
    function: Callable[[_Item], Awaitable[_Result]], items: AsyncIterator[_Item]
) -> AsyncIterator[_Result]:
    """Results in the order of the items, with up to ``_FRAMES_IN_FLIGHT`` of them in flight."""
    tasks: list[asyncio.Task] = []
    try:
        async for item in items:
            tasks.append(asyncio.ensure_future(function(item)))
            if len(tasks) >= _FRAMES_IN_FLIGHT:
                yield await tasks.pop(0)
        while tasks:
            yield await tasks.pop(0)
    finally:
        for task in tasks:
            task.cancel()
