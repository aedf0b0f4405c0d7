"""Small clip shards with a bright blob on landmark 36, so that tests can measure geometry in the images."""

from __future__ import annotations

import cv2
import numpy as np

from jr2net.images.arrays import encode_matte
from jr2net.images.clip import ClipRow, ClipTruth

SIDE = 128
BLOB = 36


def make_row(
    number: int, frames: int, truth: bool = False, identity: str | None = None, mattes: bool = False
) -> ClipRow:
    rng = np.random.default_rng(number)
    landmarks = rng.uniform(30, SIDE - 30, (frames, 68, 2)).astype(np.float32)
    return ClipRow(
        clip_id=f"clip-{number}",
        identity=identity or f"person-{number}",
        fps=25.0,
        frame=np.arange(10, 10 + 2 * frames, 2, dtype=np.int32),
        images=tuple(blob_image(points[BLOB]) for points in landmarks),
        landmarks=landmarks,
        truth=make_truth(rng, frames) if truth else None,
        matte=tuple(blob_matte(points[BLOB]) for points in landmarks) if mattes else None,
    )


def make_truth(rng: np.random.Generator, frames: int) -> ClipTruth:
    def draw(*shape: int) -> np.ndarray:
        return rng.random(shape).astype(np.float32)

    return ClipTruth(draw(80), draw(64), draw(frames, 51), draw(frames, 3), draw(frames, 3), draw(frames, 9, 3))


def blob_image(point: np.ndarray) -> bytes:
    """Dark grey with a blob centred on ``point``, pixel centres at +0.5."""
    image = np.repeat((20 + 200 * _blob(point))[..., None], 3, -1).astype(np.uint8)
    return cv2.imencode(".png", image)[1].tobytes()


def blob_matte(point: np.ndarray) -> bytes:
    """The blob of ``blob_image`` as a grey PNG."""
    return encode_matte((255 * _blob(point)).astype(np.uint8))


def _blob(point: np.ndarray) -> np.ndarray:
    x, y = np.meshgrid(np.arange(SIDE) + 0.5, np.arange(SIDE) + 0.5)
    return np.exp(-((x - point[0]) ** 2 + (y - point[1]) ** 2) / (2 * 4.0**2))


def blob_centre(image: np.ndarray) -> np.ndarray:
    """Centre of the blob in an image (S, S), in pixels with edges at integers."""
    weight = np.clip(image - image.max() / 2, 0, None)
    x, y = np.meshgrid(np.arange(image.shape[1]) + 0.5, np.arange(image.shape[0]) + 0.5)
    return np.array([(x * weight).sum(), (y * weight).sum()]) / weight.sum()
