"""Reenactment over HTTP: single images, and videos frame by frame with several frames in flight at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import numpy as np

from jr2net.expressions.columns import NotACaptureError
from jr2net.expressions.tracks import Track, TrackError, parse_capture
from jr2net.images.photo import photo_format
from jr2net.images.sound import Sound
from jr2net.images.video import Mp4Writer, VideoError
from jr2net.images.video_file import VideoFile, is_video
from jr2net.inference.compositing import composite
from jr2net.inference.control import ControlError, DrivingOptions, amount_of_expression, drive
from jr2net.inference.driving import Clip, VideoTracker, capture_faces, frame_step, reference_frame, shows_head
from jr2net.inference.face import FittedFace
from jr2net.inference.following import LARGEST, FaceChoice, FaceFollower
from jr2net.inference.messages import FaceArrays, Fit, ModelInfo
from jr2net.inference.photo import NoFaceError, Photo
from serve.control import of_expression
from serve.problems import STATUS, Problem
from serve.service import Service
from serve.settings import video_limits

_ASKED_S = 0.5
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

    faces  each frame's driving face and that of the frame of reference; of coefficients the expression, of captures the
           head's rotation too if they hold it
    fps    frames per second; 0: one face for all instants
    count  approximate number of frames; 0: not known
    found  what was found in it until now and done about it; of a capture all of it (``Track.notes``)
    video  a video, whose sound is kept
    """

    faces: AsyncIterator[tuple[FaceArrays, FaceArrays | None]]
    fps: float
    options: DrivingOptions
    count: int = 0
    found: Callable[[], tuple[str, ...]] = tuple
    video: VideoFile | None = None


async def open_driving(service: Service, file: VideoFile, options: DrivingOptions, choice: FaceChoice) -> Driving:
    """The driving faces of a video or a capture. choice: which face of a video. Raises Problem."""
    if is_video(file):
        return await _driving_video(service, file, options, choice)
    if kind := photo_format(file.head):
        raise Problem(415, f"driving: is a photo ({kind}); send it to /v1/reenact, or send a video or a capture")
    if choice != LARGEST:
        raise Problem(422, "driving_face and driving_box choose the face of a driving video, not of a capture")
    track = await open_capture(file.read(), "driving")
    options = of_expression(options, "a capture drives", shows_head(track))
    limit = service.settings.limits.video_seconds
    if len(track) / track.fps > limit:
        raise Problem(413, f"driving: the capture lasts {len(track) / track.fps:.0f} s; cut it to {limit:g} s")
    try:
        number = reference_frame(track, options)
    except ControlError as error:
        raise Problem(422, str(error)) from None
    shown, step = capture_faces(track), frame_step(track.fps)
    faces = [(face, shown[number]) for face in shown[::step]]
    return Driving(_to_async(faces), track.fps / step, options, len(faces), partial(tuple, track.notes))


async def open_capture(content: bytes, name: str) -> Track:
    """A capture in CSV or JSON. Raises Problem: 415 for a file of another kind, 422 for a capture that is unusable."""
    try:
        return await asyncio.to_thread(parse_capture, content, name)
    except TrackError as error:
        raise Problem(415 if isinstance(error, NotACaptureError) else 422, str(error)) from None


async def generate_video(
    service: Service, source: FittedFace, driving: Driving, found: Callable[[], tuple[str, ...]]
) -> AsyncIterator[bytes]:
    """The source photo, driven, as the chunks of an MP4. Raises Problem before the first.

    found: the notes, asked at the end
    """
    options = driving.options

    async def generate_frame(pair: tuple[FaceArrays, FaceArrays | None]) -> tuple[np.ndarray, ModelInfo]:
        face, reference = pair
        target = drive(source.fit.face, face, options, reference)
        return await reenact(service, source, target, options.affects_whole_crop)

    frames = map_in_order(generate_frame, driving.faces)
    async for chunk in encode_frames(service, frames, driving.fps, driving.video, found):
        yield chunk


async def encode_frames(
    service: Service,
    frames: AsyncIterator[tuple[np.ndarray, ModelInfo]],
    fps: float,
    video: VideoFile | None,
    found: Callable[[], tuple[str, ...]],
) -> AsyncIterator[bytes]:
    """Images (H, W, 3) uint8 of one size and the network that made them, as the chunks of an MP4 with the sound of a
    video. found: the notes, asked at the end."""
    writer, sound = None, None if video is None else Sound(video)
    async for image, network in frames:
        if writer is None:
            height, width = image.shape[:2]
            writer = Mp4Writer(width, height, fps, service.mark(network), sound=sound)
        with service.stage("encode"):
            chunk = await asyncio.to_thread(writer.add, image)
        if chunk:
            yield chunk
    if writer is not None:
        yield await asyncio.to_thread(lambda: writer.finish(found()))


async def first_chunk(chunks: AsyncIterator[bytes], is_disconnected: Callable[[], Awaitable[bool]]) -> bytes:
    """The first chunk of a video, for which a long search for a face may be needed; empty: there is none.

    is_disconnected: asked twice a second whether the client has gone; the work stops then. Raises Problem.
    """
    task = asyncio.ensure_future(anext(chunks, b""))
    try:
        while not (await asyncio.wait({task}, timeout=_ASKED_S))[0]:
            if await is_disconnected():
                raise Problem(400, "the client has gone")
        return task.result()
    finally:
        task.cancel()


async def open_clip(service: Service, video: VideoFile, name: str) -> Clip:
    """A video that is sent. Raises Problem."""
    try:
        return await asyncio.to_thread(Clip.open, video, name, video_limits(service.settings.limits))
    except VideoError as error:
        raise Problem(STATUS[error.kind], str(error)) from None


def open_follower(service: Service, rate: float, choice: FaceChoice = LARGEST, name: str = "video") -> FaceFollower:
    """Raises Problem where no face detector is installed."""
    try:
        return FaceFollower(service.detector, rate, choice, name)
    except NoFaceError as error:
        raise Problem(422, str(error)) from None


async def _driving_video(service: Service, video: VideoFile, options: DrivingOptions, choice: FaceChoice) -> Driving:
    clip = await open_clip(service, video, "driving")
    try:
        trackers = [VideoTracker(clip.fps, options, service.detector, choice) for _ in range(2)]
    except NoFaceError as error:
        raise Problem(422, str(error)) from None
    tracker, before = trackers

    async def faces() -> AsyncIterator[tuple[FaceArrays, FaceArrays | None]]:
        if options.needs_reference and options.reference != "first":
            tracker.set_reference(await _find_reference(_track_faces(service, clip, before), before))
        async for face in _track_faces(service, clip, tracker):
            yield face, tracker.reference

    return Driving(faces(), clip.fps, options, clip.count, lambda: (*tracker.notes(), *clip.ended), video)


async def _find_reference(faces: AsyncIterator[FaceArrays], tracker: VideoTracker) -> FaceArrays:
    """The driving face of the frame of reference; the video is read as far as is needed. Raises Problem."""
    options, least, number = tracker.options, None, -1
    async for face in faces:
        number += 1
        if options.reference == "neutral":
            if least is None or amount_of_expression(face["expression"]) < amount_of_expression(least["expression"]):
                least = face
        elif number >= round(float(options.reference) * tracker.fps):
            return face
    if least is None:
        seconds = (number + 1) / tracker.fps
        raise Problem(422, f"reference: {options.reference} s lies beyond the driving's end; it lasts {seconds:.2f} s")
    return least


async def _track_faces(service: Service, clip: Clip, tracker: VideoTracker) -> AsyncIterator[FaceArrays]:
    """The driving face of each frame. Raises Problem if none shows a face."""
    frames = clip.frames()

    def locate() -> list[Photo] | None:
        """The photos of the next frame; None at the end."""
        frame = next(frames, None)
        with service.stage("find"):
            return None if frame is None else tracker.locate(frame)

    async def photos() -> AsyncIterator[Photo]:
        while (located := await asyncio.to_thread(locate)) is not None:
            for photo in located:
                yield photo
        try:
            tracker.finish()
        except NoFaceError as error:
            raise Problem(422, str(error)) from None

    async def fit(photo: Photo) -> tuple[Fit, float]:
        fitted = await service.fit(photo)
        return fitted.fit, await asyncio.to_thread(tracker.confidence, photo, fitted.landmarks)

    async for fitted, sure in map_in_order(fit, photos()):
        yield tracker.track(fitted, sure)


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
