"""Helpers for tests of the page in a browser: the HTTP application in a thread, with fake networks."""

from __future__ import annotations

import re
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
from serve.page.libraries import bundle
from serve.service import Service
from serve.settings import check_settings

if TYPE_CHECKING:
    from playwright import sync_api

SIZE = 64
FITTED_SMILE = 0.25
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
# Software rendering, and no background traffic.
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
class FakeNetworks:
    """``Networks`` that fit a slight smile to every face, and darken the centre of the crop as the jaw opens."""

    model: FaceModel
    infos: dict[str, ModelInfo] = field(init=False)

    def __post_init__(self) -> None:
        kinds = {"reconstruction": "recaugnet", "reenactment": "dcnet"}
        self.infos = {name: ModelInfo(kind, "c0ffee" * 10, SIZE, 5.0) for name, kind in kinds.items()}

    async def fit(self, crops: list[np.ndarray]) -> list[Fit]:
        face = self.model.neutral(1)
        face.expression[0, ARKIT_NAMES.index("mouthSmileLeft")] = FITTED_SMILE
        info = self.infos["reconstruction"]
        landmarks = landmarks_2d(self.model, face, info.camera)[0].numpy()
        return [Fit(to_face_arrays(face), landmarks, info) for _ in crops]

    async def reenact(self, requests: list[ReenactRequest]) -> list[ReenactResult]:
        return [self._generate(request) for request in requests]

    def _generate(self, request: ReenactRequest) -> ReenactResult:
        image = resize(request.crop, SIZE).copy()
        centre = slice(SIZE // 4, 3 * SIZE // 4)
        jaw_open = request.driving["expression"][ARKIT_NAMES.index("jawOpen")]
        image[centre, centre] = (image[centre, centre] * (1 - jaw_open)).astype(np.uint8)
        zeros, ones = np.zeros((SIZE, SIZE), np.float32), np.ones((SIZE, SIZE), np.float32)
        crop = GeneratedCrop(image, np.zeros((SIZE, SIZE, 2), np.float32), zeros, ones, zeros)
        return ReenactResult(crop, self.infos["reenactment"])

    async def describe(self) -> dict[str, ModelInfo]:
        return self.infos


def find_browser() -> str:
    """The path of Chromium. Skips the test if it is not installed."""
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        pytest.skip(f"no browser: none of {', '.join(BROWSERS)} is installed")
    return found


@contextmanager
def serving(
    model: FaceModel, keys: tuple[bytes, ...] | None = None, stream: bool = True, detector: FaceDetector | None = None
) -> Iterator[str]:
    """Runs the application; yields its URL. Without ``stream`` it refuses WebSockets, as some proxies do."""
    weights = {"weights": "fake"}
    settings = check_settings(
        {
            "reconstruction": weights,
            "reenactment": weights,
            "detector": "off",
            "authentication": "off" if keys is None else "bearer",
        }
    )
    service = Service(settings, FakeNetworks(model), model, detector)
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
    """A bright PNG, in which a darkened centre is visible."""
    noise = np.random.default_rng(0).integers(150, 255, (6, 8, 3), np.uint8)
    return cv2.imencode(".png", cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC))[1].tobytes()


def detect_centre(image: np.ndarray) -> list[Face]:
    """A detector that finds a face in the centre of every image."""
    height, width = image.shape[:2]
    return [Face((0.3 * width, 0.3 * height, 0.7 * width, 0.7 * height))]


FACE_BOXES = ((0.1, 0.2, 0.4, 0.7), (0.6, 0.3, 0.85, 0.65))
"""Of ``detect_two``: left, top, right and bottom as fractions of the image's sides."""


def detect_two(image: np.ndarray) -> list[Face]:
    """A detector that finds two faces in every image."""
    height, width = image.shape[:2]
    return [
        Face((left * width, top * height, right * width, bottom * height)) for left, top, right, bottom in FACE_BOXES
    ]


def driving_video(frames: int = 12) -> bytes:
    """An MP4 of 160 × 120 pixels whose frames get brighter."""
    writer = Mp4Writer(160, 120, 25.0, None)
    chunks = [writer.add(np.full((120, 160, 3), 10 * frame, np.uint8)) for frame in range(frames)]
    return b"".join([*chunks, writer.finish()])


def capture(frames: int = 40, fps: int = 30) -> bytes:
    """A Live Link Face CSV in which the jaw opens and stays open."""
    lines = [",".join(["Timecode", "BlendShapeCount", *(name[0].upper() + name[1:] for name in ARKIT_NAMES)])]
    for frame in range(frames):
        values = [min(1.0, frame / 10) if name == "jawOpen" else 0.0 for name in ARKIT_NAMES]
        stamp = f"10:00:{frame // fps:02d}:{frame % fps:06.3f}"
        lines.append(",".join([stamp, str(len(values)), *(f"{value:.3f}" for value in values)]))
    return "\n".join(lines).encode()


PHOTO = {"name": "someone.png", "mimeType": "image/png", "buffer": photo()}
OpenPage = Callable[..., "sync_api.Page"]


@pytest.fixture(scope="module")
def browser() -> Iterator[sync_api.Browser]:
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright drives the browser")
    path = find_browser()
    with sync_api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=path, args=FLAGS, timeout=120_000)
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def address(toy_model) -> Iterator[str]:
    if not bundle.BUNDLE.is_file():
        try:
            bundle.bundle()
        except bundle.BundleError as error:
            pytest.skip(f"the page's 3D library is missing: {error}")
    with serving(toy_model) as address:
        yield address


@pytest.fixture
def open_page(browser, address) -> Iterator[OpenPage]:
    """Opens the page. Afterwards its console must be empty, except for allowed messages, and all requests local."""
    errors: list[str] = []
    contexts = []

    def open_at(url: str = address, allowed: str = "^$", width: int = 1280, **options) -> sync_api.Page:
        def record(message: str) -> None:
            if not re.search(allowed, message):
                errors.append(message)

        options = {"reduced_motion": "reduce", "viewport": {"width": width, "height": 844}} | options
        contexts.append(browser.new_context(**options))
        page = contexts[-1].new_page()
        page.set_default_timeout(60_000)
        page.on("console", lambda message: message.type in ("error", "warning") and record(message.text))
        page.on("pageerror", lambda error: record(str(error)))
        page.on(
            "request",
            lambda request: request.url.startswith((url, "blob:", "data:")) or record(f"requested {request.url}"),
        )
        page.goto(url)
        return page

    yield open_at
    for context in contexts:
        context.close()
    assert errors == []


def fit(page: sync_api.Page) -> None:
    """Chooses the photo and accepts the box of the face, because this server has no detector."""
    from playwright.sync_api import expect

    page.set_input_files("#photo", PHOTO)
    page.click("#box-use")
    expect(page.locator("#status")).to_contain_text("Face fitted")


def wait_for_image(page: sync_api.Page, previous: str | None = None) -> str:
    """Waits for a generated image other than the previous one. Returns its URL."""
    from playwright.sync_api import expect

    expect(page.locator("#provenance")).to_be_visible()
    image = page.locator("#image")
    if previous is not None:
        expect(image).not_to_have_attribute("src", previous)
    return image.get_attribute("src")


def centre_brightness(page: sync_api.Page) -> float:
    """Brightness, 0 to 255, of the centre of the displayed photo."""
    pixels = cv2.imdecode(np.frombuffer(page.locator("#view").screenshot(), np.uint8), cv2.IMREAD_GRAYSCALE)
    height, width = pixels.shape
    return float(pixels[height // 2 - 5 : height // 2 + 5, width // 2 - 5 : width // 2 + 5].mean())


def download(page: sync_api.Page, button: str) -> bytes:
    with page.expect_download() as started:
        page.click(button)
    return Path(started.value.path()).read_bytes()


def set_slider(page: sync_api.Page, name: str, value: float) -> None:
    page.locator(f"#{name}").evaluate("(slider) => slider.closest('details').open = true")
    page.locator(f"#{name}").fill(str(value))
