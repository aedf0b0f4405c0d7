"""What every request needs: the networks, the face detector, the face model, and the steps from a photo to a fit."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import cv2
import numpy as np

from jr2net.face.model import FaceModel
from jr2net.images.face_detector import FaceDetector
from jr2net.images.mark import Mark
from jr2net.images.photo import PhotoError, decode_photo
from jr2net.inference.portrait import NoFaceError, Portrait, take_portrait
from serve.batcher import Batcher
from serve.networks import FaceArrays, Fit, ModelInfo, Networks, ReenactRequest, ReenactResult
from serve.problems import Problem
from serve.settings import Settings

_FRESH = 10.0  # seconds for which the networks' descriptions are believed


@dataclass
class Service:
    """Everything behind the HTTP side. ``observe`` is told the seconds of each stage, for metrics."""

    settings: Settings
    networks: Networks
    model: FaceModel
    detector: FaceDetector | None
    observe: Callable[[str, float], None] = lambda stage, seconds: None
    described: dict[str, ModelInfo] = field(default_factory=dict)
    described_at: float = -np.inf

    def __post_init__(self) -> None:
        own, patience = self.settings, self.settings.gather_s
        self.fitting = Batcher(self.networks.fit, own.reconstruction.max_batch_size, patience)
        self.playing = Batcher(self.networks.play, own.reenactment.max_batch_size, patience)

    async def describe(self, fresh: bool = False) -> dict[str, ModelInfo]:
        if fresh or time.monotonic() - self.described_at > _FRESH:
            self.described, self.described_at = await self.networks.describe(), time.monotonic()
        return self.described

    async def portrait(
        self, content: bytes, box: Sequence[float] | None = None, which: int = 0, what: str = "image", side: int = 0
    ) -> Portrait:
        """Decodes a photo and finds its face; ``side`` shrinks larger photos. Raises Problem."""
        with self.fitting.preparing():
            return await asyncio.to_thread(self._portrait, content, box, which, what, side)

    def _portrait(self, content: bytes, box: Sequence[float] | None, which: int, what: str, side: int) -> Portrait:
        try:
            with self.stage("decode"):
                photo = decode_photo(content, self.settings.limits.pixels)
        except PhotoError as error:
            raise Problem.of(error, what) from None
        if side and (scale := side / max(photo.shape[:2])) < 1:
            height, width = (max(1, round(length * scale)) for length in photo.shape[:2])
            photo = cv2.resize(photo, (width, height), interpolation=cv2.INTER_AREA)
            box = [value * scale for value in box] if box is not None else None
        return self.find(photo, box, which, what)

    def find(self, photo: np.ndarray, box: Sequence[float] | None, which: int, what: str) -> Portrait:
        """Raises Problem 422."""
        try:
            with self.stage("find"):
                return take_portrait(photo, self.detector, box, which)
        except (NoFaceError, ValueError) as error:
            raise Problem(422, f"{what}: {error}") from None

    async def fit(self, portrait: Portrait) -> Fit:
        size = (await self.describe())["reconstruction"].size
        with self.fitting.preparing():
            picture = await asyncio.to_thread(portrait.cut, size)
        with self.stage("fit"):
            return await self.fitting(picture)

    async def play(self, portrait: Portrait, source: FaceArrays, driving: FaceArrays) -> ReenactResult:
        size = (await self.describe())["reenactment"].size
        with self.playing.preparing():
            picture = await asyncio.to_thread(portrait.cut, size)
        with self.stage("play"):
            return await self.playing(ReenactRequest(picture, source, driving))

    def mark(self, network: ModelInfo) -> Mark | None:
        return Mark(network.digest) if self.settings.mark else None

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            self.observe(name, time.perf_counter() - start)
