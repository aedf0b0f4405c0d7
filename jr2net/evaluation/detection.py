"""Pictures that face detectors are measured on: faces of clips pasted at random sizes, and pictures without one."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from jr2net import storage
from jr2net.data.clips import ClipSource
from jr2net.data.evaluation_frames import spaced_frames
from jr2net.images.face_detector import Face, FaceDetector
from jr2net.images.face_search import overlap
from jr2net.images.photo import decode_photo
from jr2net.studio.background import draw_background
from jr2net.studio.clutter import draw_clutter

WIDTH, HEIGHT = 1280, 720
IOU = 0.5
"""Least intersection over union of a found box and the true one."""

LEAST_SIDE, LARGEST = 24.0, 0.8
"""Sizes of pasted faces, the longer side of their box: from so many pixels to this part of the picture's height."""


@dataclass(frozen=True)
class Pasted:
    """A picture (720, 1280, 3) uint8 with one face of a clip, of ``identity``.

    box, landmarks  (4,) and (68, 2) of the face in the picture, as the clip has them
    empty           the same picture before the face was pasted
    """

    image: np.ndarray
    box: np.ndarray
    landmarks: np.ndarray
    empty: np.ndarray
    identity: str

    @property
    def side(self) -> float:
        """The longer side of the box, in pixels."""
        return float((self.box[2:] - self.box[:2]).max())


def paste_faces(clips: ClipSource, pictures: Sequence[np.ndarray], limit: int, seed: int) -> Iterator[Pasted]:
    """Frames of clips at random sizes and places in pictures of 1280 x 720 pixels.

    pictures: without faces, parts of which are used in turn with drawn ones; empty: drawn ones alone. limit: of frames,
    which are spread over the clips; those without landmarks are left out.
    """
    for number, ref in enumerate(spaced_frames(clips, limit)):
        rng = np.random.default_rng([seed, number])
        row = clips.read(ref.row)
        frame, landmarks = clips.load_frame(ref.row, ref.frame)
        if not np.isfinite(landmarks).all():
            continue
        empty = _picture(rng, pictures[number // 2 % len(pictures)] if pictures and number % 2 else None)
        own = float((landmarks.max(0) - landmarks.min(0)).max())
        side = float(np.exp(rng.uniform(np.log(LEAST_SIDE), np.log(LARGEST * HEIGHT))))
        scale = min(side / own, HEIGHT / len(frame))
        width = max(1, round(scale * len(frame)))
        scale = width / len(frame)
        small = cv2.resize(frame, (width, width), interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
        x, y = rng.integers(0, WIDTH - width + 1), rng.integers(0, HEIGHT - width + 1)
        image = empty.copy()
        image[y : y + width, x : x + width] = small
        points = scale * landmarks + np.array([x, y])
        yield Pasted(image, np.concatenate([points.min(0), points.max(0)]), points, empty, row.identity)


def read_pictures(folder: str | None) -> list[np.ndarray]:
    """All photos of a folder that can be read, (H, W, 3) uint8, in the order of their names."""
    names = sorted(name for name in storage.list_files(folder) if not name.endswith((".txt", ".md"))) if folder else []
    return [decode_photo(storage.read_bytes(storage.join(folder or "", name))) for name in names]


def found(faces: Sequence[Face], box: np.ndarray) -> Face | None:
    """The face whose box is the true one; None: none is."""
    best = max(faces, key=lambda face: overlap(np.array(face.box), box), default=None)
    return best if best is not None and overlap(np.array(best.box), box) >= IOU else None


def milliseconds(detector: FaceDetector, images: Sequence[np.ndarray]) -> float:
    """Processor time of a picture, the median of some."""
    times = []
    for image in images:
        start = time.process_time()
        detector(image)
        times.append(1000 * (time.process_time() - start))
    return float(np.median(times))


def _picture(rng: np.random.Generator, photo: np.ndarray | None) -> np.ndarray:
    """A picture of 1280 x 720 pixels without a face: a part of a photo, or drawn, with things in it."""
    if photo is not None:
        part = min(photo.shape[1], photo.shape[0] * WIDTH / HEIGHT) * rng.uniform(0.5, 1)
        width, height = round(part), round(part * HEIGHT / WIDTH)
        x, y = rng.integers(0, photo.shape[1] - width + 1), rng.integers(0, photo.shape[0] - height + 1)
        shown = np.ascontiguousarray(photo[y : y + height, x : x + width])
        return cv2.resize(shown, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA if width > WIDTH else cv2.INTER_LINEAR)
    square = (255 * draw_background(rng, WIDTH // 2)).astype(np.uint8)
    for _ in range(rng.integers(0, 6)):
        draw_clutter(square, rng.uniform(0, len(square), 2), len(square) * rng.uniform(0.05, 0.5), rng)
    return cv2.resize(square, (WIDTH, WIDTH), interpolation=cv2.INTER_LINEAR)[:HEIGHT]
