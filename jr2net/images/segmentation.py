"""Mattes of photos: where a picture shows a person.

``Segmenter`` is the interface: a face crop in, its matte out. The implementation runs MediaPipe's selfie segmentation
(Apache 2.0) with OpenCV, from the same wheel as the face detector and, like it, an optional extra.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

from jr2net.errors import UserError
from jr2net.images.mediapipe_detector import MODELS_VARIABLE, find_model
from jr2net.storage.parquet import one_line

_MODEL = "selfie_segmentation.tflite"
_SIDE = 256
_BLACK = 16
"""Rows and columns at the edge that are nowhere brighter than this (of 255) lie outside of the footage."""


class SegmenterError(UserError, RuntimeError):
    """A segmentation model that is not installed or cannot be read; the message names the remedy."""


class Segmenter(Protocol):
    def __call__(self, image: np.ndarray, /) -> np.ndarray:
        """The matte (H, W) uint8 of an image (H, W, 3) uint8 RGB: 255 where it shows a person."""


def load_segmenter(folder: str | Path | None = None) -> Segmenter:
    """Loads the segmentation model from a ``.tflite`` file in ``folder``, by default that of MediaPipe's wheel.

    Raises SegmenterError where it is missing or damaged.
    """
    path = find_model(_MODEL, folder)
    if path is None:
        raise SegmenterError(
            f"no segmentation model is installed, which mattes of real clips need: run `make detector` (pip install "
            f"--no-deps mediapipe==0.10.21), set {MODELS_VARIABLE} to a folder with {_MODEL}, or set reenactor=dcnet"
        )
    if not path.is_file():
        raise SegmenterError(f"{path}: does not exist; give the folder that holds {_MODEL}")
    try:
        return _SelfieSegmentation(path)
    except cv2.error as error:
        raise SegmenterError(
            f"{path}: cannot be read ({one_line(error)}); install the wheel again: `make detector`"
        ) from None


class _SelfieSegmentation:
    """MediaPipe's selfie segmentation, general model. Thread-safe."""

    def __init__(self, path: Path) -> None:
        self.network = cv2.dnn.readNetFromTFLite(str(path), cv2.dnn.ENGINE_CLASSIC)
        self.lock = threading.Lock()

    def __call__(self, image: np.ndarray) -> np.ndarray:
        matte = np.zeros(image.shape[:2], np.uint8)
        rows, columns = _footage(image)
        region = image[rows, columns]
        if not region.size:
            return matte
        pixels = np.ascontiguousarray(_resize(region, (_SIDE, _SIDE)).transpose(2, 0, 1)[None], np.float32) / 255
        with self.lock:
            self.network.setInput(pixels)
            opacity = self.network.forward()[0, 0].copy()
        height, width = region.shape[:2]
        matte[rows, columns] = np.clip(_resize(opacity, (width, height)) * 255 + 0.5, 0, 255).astype(np.uint8)
        return matte


def _footage(image: np.ndarray) -> tuple[slice, slice]:
    """Rows and columns of the image without its black borders, where the crop left the footage."""
    bright = image.max(-1) > _BLACK
    spans = []
    for axis in (1, 0):
        seen = np.flatnonzero(bright.any(axis))
        spans.append(slice(int(seen[0]), int(seen[-1]) + 1) if len(seen) else slice(0, 0))
    return spans[0], spans[1]


def _resize(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    shrinks = size[0] < image.shape[1] and size[1] < image.shape[0]
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
