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
from jr2net.images.photo import PhotoError, read_photo
from jr2net.inference.face import FittedFace
from jr2net.inference.messages import FaceArrays, Fit, ModelInfo, ReenactRequest, ReenactResult
from jr2net.inference.photo import NoFaceError, Photo, shrink_to
from serve.batcher import Batcher
from serve.problems import Problem
from serve.settings import Settings

_MODEL_INFO_TTL_S = 10.0


class Networks(Protocol):
    """The networks, independent of where they run. Results have the order of the requests."""

    async def fit(self, crops: list[np.ndarray]) -> list[Fit]:
        """Fits face crops (side, side, 3) uint8 RGB of any side; at most one batch."""

    async def reenact(self, requests: list[ReenactRequest]) -> list[ReenactResult]:
        """Generates the crop of each request; at most one batch."""

    async def describe(self) -> dict[str, ModelInfo]:
        """The networks by name: ``reconstruction`` and ``reenactment``. Raises if one of them is not ready."""


@dataclass
class Service:
    """Everything behind the HTTP routes. ``observe`` is called with the name and seconds of each stage, for metrics."""

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

    async def describe(self, refresh: bool = False) -> dict[str, ModelInfo]:
        """The networks by name, cached for a few seconds."""
        if refresh or time.monotonic() - self.model_info_at > _MODEL_INFO_TTL_S:
            self.model_info, self.model_info_at = await self.networks.describe(), time.monotonic()
        return self.model_info

    async def open_photo(
        self, content: bytes, box: Sequence[float] | None = None, face: int = 0, name: str = "image", max_side: int = 0
    ) -> Photo:
        """Decodes a photo and locates its face. Raises Problem.

        box       left, top, right, bottom of the face in pixels; None: it is detected
        face      index of the face, the largest first
        name      what error messages call the photo
        max_side  larger photos are shrunk to it; 0: no limit
        """
        with self.fit_batcher.preparing():
            return await asyncio.to_thread(self._open_photo, content, box, face, name, max_side)

    def _open_photo(self, content: bytes, box: Sequence[float] | None, face: int, name: str, max_side: int) -> Photo:
        try:
            with self.stage("decode"):
                decoded = read_photo(content, self.settings.limits.pixels)
        except PhotoError as error:
            raise Problem.from_error(error, name) from None
        image = decoded.pixels
        if max_side:
            image, scale = shrink_to(image, max_side)
            box = [value * scale for value in box] if box is not None else None
        try:
            with self.stage("find"):
                return Photo.from_image(image, face, box, self.detector, name, decoded.notes)
        except NoFaceError as error:
            raise Problem(422, error.message("driving_box=" if name == "driving" else "box=")) from None

    async def fit(self, photo: Photo) -> FittedFace:
        size = (await self.describe())["reconstruction"].size
        with self.fit_batcher.preparing():
            crop = await asyncio.to_thread(photo.crop_image, size)
        with self.stage("fit"):
            return FittedFace(photo, await self.fit_batcher(crop), self.model)

    async def reenact(self, source: FittedFace, driving: FaceArrays) -> ReenactResult:
        size = (await self.describe())["reenactment"].size
        with self.reenact_batcher.preparing():
            crop = await asyncio.to_thread(source.photo.crop_image, size, continued=True)
        with self.stage("reenact"):
            return await self.reenact_batcher(ReenactRequest(crop, source.fit.face, driving))

    def mark(self, network: ModelInfo) -> Mark | None:
        """The label of generated images; None if it is turned off."""
        return Mark(network.digest) if self.settings.mark else None

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Times one stage of a request."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.observe(name, time.perf_counter() - start)
