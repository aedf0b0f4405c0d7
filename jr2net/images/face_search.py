"""Searching a picture for faces: the squares that a detector's network looks at, and one detection per face."""

from __future__ import annotations

import numpy as np

from jr2net.images.crop import Crop
from jr2net.images.face_detector import Face

_OVERLAP = 0.3

Detection = tuple[float, np.ndarray, Crop]
"""A score, the box (4,) of a face in pixels of the picture, and a square around the face."""


def tiles(width: int, height: int, side: float) -> list[Crop]:
    """Squares of ``side`` that overlap by half and cover the image."""

    def centres(length: int) -> np.ndarray:
        if length <= side:
            return np.array([length / 2])
        return np.linspace(side / 2, length - side / 2, int(np.ceil(2 * (length - side) / side)) + 1)

    return [Crop((float(x), float(y)), side) for y in centres(height) for x in centres(width)]


def non_maximum_suppression(detections: list[Detection]) -> list[Detection]:
    """One detection per face, the best first: those that overlap one of higher score are dropped."""
    kept: list[Detection] = []
    for detection in sorted(detections, key=lambda item: -item[0]):
        if all(overlap(detection[1], other) < _OVERLAP for _, other, _ in kept):
            kept.append(detection)
    return kept


def is_same(face: Face, other: Face) -> bool:
    """Whether most of the smaller face lies in the other: a tile that cuts a face shows a part of it."""
    a, b = np.array(face.box), np.array(other.box)
    shared = np.prod(np.clip(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0, None))
    return bool(shared > 0.5 * min(face.area, other.area))


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    """Intersection over union of two boxes."""
    shared = np.prod(np.clip(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0, None))
    return float(shared / (np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2]) - shared))
