"""A video as the source over HTTP: every frame acts, in its own pose (``jr2net.inference.animation``)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from jr2net.face.arkit import ARKIT_NAMES
from jr2net.images.sound import first_with_sound
from jr2net.images.video_file import VideoFile
from jr2net.inference.animation import source_notes, source_photos
from jr2net.inference.confidence import Doubts
from jr2net.inference.control import DrivingOptions, drive
from jr2net.inference.driving import Clip
from jr2net.inference.following import FaceChoice, FaceFollower
from jr2net.inference.messages import FaceArrays, ModelInfo
from jr2net.inference.photo import NoFaceError, Photo
from serve.bodies import parse_expression, parse_json
from serve.control import of_expression
from serve.problems import Problem
from serve.reenact import Driving, encode_frames, map_in_order, open_clip, open_follower, reenact
from serve.service import Service


@dataclass(frozen=True)
class Acting:
    """A source video, whose face is followed, and what drives it."""

    clip: Clip
    follow: FaceFollower
    driving: Driving
    doubts: Doubts = field(default_factory=Doubts)

    def found(self) -> tuple[str, ...]:
        """What was found in the videos until now and done about it."""
        return (*source_notes(self.clip, self.follow, self.doubts), *self.driving.found())


def fixed_driving(text: str | None, options: DrivingOptions) -> Driving:
    """Coefficients (JSON) that drive every frame alike; None: the source's own. Raises Problem."""
    if text is None:
        if not options.changes_source:
            raise Problem(
                422, "send driving (a video or a capture) or expression (JSON), or turn the head, e.g. yaw=20"
            )
        options = of_expression(options, "without a driving there is").own()
        expression = np.zeros(len(ARKIT_NAMES), np.float32)
    else:
        options = of_expression(options, "named coefficients drive")
        expression = parse_expression(parse_json(text, "expression"), options.relative)

    async def faces() -> AsyncIterator[tuple[FaceArrays, FaceArrays | None]]:
        yield {"expression": expression}, None

    return Driving(faces(), 0.0, options)


async def open_acting(service: Service, video: VideoFile, driving: Driving, choice: FaceChoice) -> Acting:
    """A video that is sent as the source. choice: which face acts. Raises Problem."""
    clip = await open_clip(service, video, "source")
    return Acting(clip, open_follower(service, clip.fps, choice, "source"), driving)


async def act(service: Service, acting: Acting) -> AsyncIterator[bytes]:
    """The source video, driven, as the chunks of an MP4 as long as it. Raises Problem before the first."""
    clip, driving = acting.clip, acting.driving
    fps, options = clip.fps, driving.options
    network = (await service.describe())["reenactment"]
    photos = source_photos(clip, acting.follow, service.settings.limits.video_side)

    def next_photo() -> Photo | np.ndarray | None:
        try:
            with service.stage("find"):
                return next(photos, None)
        except NoFaceError as error:
            raise Problem(422, str(error)) from None

    async def numbered() -> AsyncIterator[tuple[int, Photo | np.ndarray, tuple[FaceArrays, FaceArrays | None]]]:
        targets, number = _at_instants(driving.faces, driving.fps, fps), 0
        while (photo := await asyncio.to_thread(next_photo)) is not None:
            yield number, photo, await anext(targets)
            number += 1

    async def generate_frame(numbered: Any) -> tuple[np.ndarray, ModelInfo]:
        number, photo, (face, reference) = numbered
        if not isinstance(photo, Photo):  # shows no face
            return photo, network
        source = await service.fit(photo)
        sure = await asyncio.to_thread(acting.follow.confidence, photo, source.landmarks)
        acting.doubts.add(number / fps, sure)
        target = drive(source.fit.face, face, options, reference)
        return await reenact(service, source, target, options.affects_whole_crop)

    frames = map_in_order(generate_frame, numbered())
    heard = await asyncio.to_thread(first_with_sound, clip.video, driving.video)
    async for chunk in encode_frames(service, frames, fps, heard, acting.found):
        yield chunk


async def _at_instants(items: AsyncIterator[Any], rate: float, wanted_rate: float) -> AsyncIterator[Any]:
    """``jr2net.inference.animation.at_instants`` of items that are awaited."""
    kept: list[Any] = []
    number, ended = 0, False
    while True:
        index = int(number * rate / wanted_rate + 1e-6)
        while not ended and index >= len(kept):
            item = await anext(items, None)
            if item is None:
                ended = True
            else:
                kept.append(item)
        if not kept:
            raise Problem(422, "driving: has no frames")
        yield kept[index % len(kept)]
        number += 1
