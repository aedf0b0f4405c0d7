"""What every request needs: the networks, the face detector, the face model, and the steps from a photo to its face."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from jr2net.face.model import FaceModel
from jr2net.images.face_detector import FaceDetector
from jr2net.images.mark import Mark
from jr2net.images.photo import PhotoError, decode_photo
from jr2net.inference.face import FittedFace
from jr2net.inference.messages import FaceArrays, Fit, ModelInfo, ReenactRequest, ReenactResult
from jr2net.inference.photo import NoFaceError, Photo, shrink_to
from serve.batcher import Batcher
from serve.problems import Problem
from serve.settings import Settings

_MODEL_INFO_AGE_S = 10.0  # for so long the networks' descriptions are cached


class Networks(Protocol):
    """The networks as the HTTP side sees them, wherever they run. Results come in the order of the requests."""

    async def fit(self, crops: list[np.ndarray]) -> list[Fit]:
        """Face crops (any side) uint8 RGB to their faces; at most one batch."""

    async def reenact(self, requests: list[ReenactRequest]) -> list[ReenactResult]:
        """Requests to generated crops; at most one batch."""

    async def describe(self) -> dict[str, ModelInfo]:
        """``reconstruction`` and ``reenactment``. Raises where one of them is not ready."""


@dataclass
class Service:
    """Everything behind the HTTP side. ``observe`` is called with the seconds of each stage, for metrics."""

    settings: Settings
    networks: Networks
    model: FaceModel
    detector: FaceDetector | None
    observe: Callable[[str, float], None] = lambda stage, seconds: None
    model_info: dict[str, ModelInfo] = field(default_factory=dict)
    model_info_at: float = -np.inf

    def __post_init__(self) -> None:
        settings = self.settings
        self.fit_batcher = Batcher(self.networks.fit, settings.reconstruction.max_batch_size, settings.gather_s)
        self.reenact_batcher = Batcher(self.networks.reenact, settings.reenactment.max_batch_size, settings.gather_s)

    async def describe(self, fresh: bool = False) -> dict[str, ModelInfo]:
        if fresh or time.monotonic() - self.model_info_at > _MODEL_INFO_AGE_S:
            self.model_info, self.model_info_at = await self.networks.describe(), time.monotonic()
        return self.model_info

    async def open_photo(
        self, content: bytes, box: Sequence[float] | None = None, face: int = 0, what: str = "image", side: int = 0
    ) -> Photo:
        """Decodes a photo and finds its face; ``side`` shrinks larger photos. Raises Problem."""
        with self.fit_batcher.preparing():
            return await asyncio.to_thread(self._open_photo, content, box, face, what, side)

    def _open_photo(self, content: bytes, box: Sequence[float] | None, face: int, what: str, side: int) -> Photo:
        try:
            with self.stage("decode"):
                image = decode_photo(content, self.settings.limits.pixels)
        except PhotoError as error:
            raise Problem.of(error, what) from None
        if side:
            image, scale = shrink_to(image, side)
            box = [value * scale for value in box] if box is not None else None
        try:
            with self.stage("find"):
                return Photo.from_image(image, face, box, self.detector, what)
        except NoFaceError as error:
            raise Problem(422, str(error)) from None

    async def fit(self, photo: Photo) -> FittedFace:
        size = (await self.describe())["reconstruction"].size
        with self.fit_batcher.preparing():
            crop = await asyncio.to_thread(photo.crop_image, size)
        with self.stage("fit"):
            return FittedFace(photo, await self.fit_batcher(crop), self.model)

    async def reenact(self, source: FittedFace, driving: FaceArrays) -> ReenactResult:
        size = (await self.describe())["reenactment"].size
        with self.reenact_batcher.preparing():
            crop = await asyncio.to_thread(source.photo.crop_image, size)
        with self.stage("reenact"):
            return await self.reenact_batcher(ReenactRequest(crop, source.fit.face, driving))

    def mark(self, network: ModelInfo) -> Mark | None:
        return Mark(network.digest) if self.settings.mark else None

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            self.observe(name, time.perf_counter() - start)
