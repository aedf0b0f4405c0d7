"""The page before a real browser: the HTTP application in a thread, with networks that paint what they are told."""

from __future__ import annotations

import shutil
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
import pytest
import uvicorn

from jr2net.face.arkit import ARKIT_NAMES
from jr2net.face.model import FaceModel
from jr2net.images.arrays import resize
from jr2net.images.face_detector import Face, FaceDetector
from jr2net.images.video import Mp4Writer
from jr2net.inference.messages import Fit, GeneratedCrop, ModelInfo, ReenactRequest, ReenactResult, to_face_arrays
from jr2net.render.renderer import landmarks_2d
from serve.access import AccessControl
from serve.api import create_api
from serve.service import Service
from serve.settings import check_settings

SIZE = 64
FITTED_SMILE = 0.25
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
# A page needs no accelerator to be tested; background traffic of the browser's own is no part of it either.
FLAGS = [
    "--no-sandbox",
    "--no-first-run",
    "--disable-quic",
    "--disable-sync",
    "--disable-background-networking",
    "--disable-component-update",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--ignore-gpu-blocklist",
]


@dataclass
class PaintingNetworks:
    """``Networks`` that fit every face with a slight smile, and darken the crop's middle as far as the jaw opens."""

    model: FaceModel
    described: dict[str, ModelInfo] = field(init=False)

    def __post_init__(self) -> None:
        kinds = {"reconstruction": "recaugnet", "reenactment": "dcnet"}
        self.described = {name: ModelInfo(kind, "c0ffee" * 10, SIZE, 5.0) for name, kind in kinds.items()}

    async def fit(self, pictures: list[np.ndarray]) -> list[Fit]:
        face = self.model.neutral(1)
        face.expression[0, ARKIT_NAMES.index("mouthSmileLeft")] = FITTED_SMILE
        described = self.described["reconstruction"]
        landmarks = landmarks_2d(self.model, face, described.camera)[0].numpy()
        return [Fit(to_face_arrays(face), landmarks, described) for _ in pictures]

    async def reenact(self, requests: list[ReenactRequest]) -> list[ReenactResult]:
        return [self._generate(request) for request in requests]

    def _generate(self, request: ReenactRequest) -> ReenactResult:
        picture = resize(request.crop, SIZE).copy()
        middle = slice(SIZE // 4, 3 * SIZE // 4)
        opened = request.driving["expression"][ARKIT_NAMES.index("jawOpen")]
        picture[middle, middle] = (picture[middle, middle] * (1 - opened)).astype(np.uint8)
        still, changed = np.zeros((SIZE, SIZE), np.float32), np.ones((SIZE, SIZE), np.float32)
        crop = GeneratedCrop(picture, np.zeros((SIZE, SIZE, 2), np.float32), still, changed, still)
        return ReenactResult(crop, self.described["reenactment"])

    async def describe(self) -> dict[str, ModelInfo]:
        return self.described


def find_browser() -> str:
    """Path of a Chromium. Skips the test where there is none."""
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        pytest.skip(f"no browser: none of {', '.join(BROWSERS)} is installed")
    return found


@contextmanager
def serving(
    model: FaceModel, keys: tuple[bytes, ...] | None = None, stream: bool = True, detector: FaceDetector | None = None
) -> Iterator[str]:
    """The application's address. Without ``stream`` sockets are refused, as some proxies do."""
    weights = {"weights": "painted"}
    settings = check_settings(
        {
            "reconstruction": weights,
            "reenactment": weights,
            "detector": "off",
            "authentication": "off" if keys is None else "bearer",
        }
    )
    service = Service(settings, PaintingNetworks(model), model, detector)
    api = create_api(service, AccessControl(settings.limits, keys))
    listener = socket.create_server(("127.0.0.1", 0))
    config: dict[str, Any] = {"log_level": "warning", "ws": "auto" if stream else "none"}
    server = uvicorn.Server(uvicorn.Config(api, **config))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    while not server.started and thread.is_alive():
        time.sleep(0.02)
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
    finally:
        server.should_exit = True
        thread.join(20)


def photo(height: int = 360, width: int = 480) -> bytes:
    """A bright PNG, so that what is painted into it is seen."""
    blots = np.random.default_rng(0).integers(150, 255, (6, 8, 3), np.uint8)
    return cv2.imencode(".png", cv2.resize(blots, (width, height), interpolation=cv2.INTER_CUBIC))[1].tobytes()


def middle_face(picture: np.ndarray) -> list[Face]:
    """A detector that sees a face in the middle of whatever it is shown."""
    height, width = picture.shape[:2]
    return [Face((0.3 * width, 0.3 * height, 0.7 * width, 0.7 * height))]


def clip(frames: int = 12) -> bytes:
    """An MP4 of 160 × 120 pixels that grows brighter."""
    writer = Mp4Writer(160, 120, 25.0, None)
    pieces = [writer.add(np.full((120, 160, 3), 10 * frame, np.uint8)) for frame in range(frames)]
    return b"".join([*pieces, writer.finish()])


def capture(frames: int = 40, fps: int = 30) -> bytes:
    """A Live Link Face CSV in which the jaw opens and stays open."""
    lines = [",".join(["Timecode", "BlendShapeCount", *(name[0].upper() + name[1:] for name in ARKIT_NAMES)])]
    for frame in range(frames):
        values = [min(1.0, frame / 10) if name == "jawOpen" else 0.0 for name in ARKIT_NAMES]
        stamp = f"10:00:{frame // fps:02d}:{frame % fps:06.3f}"
        lines.append(",".join([stamp, str(len(values)), *(f"{value:.3f}" for value in values)]))
    return "\n".join(lines).encode()
