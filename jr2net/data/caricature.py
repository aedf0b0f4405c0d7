"""Caricature of training images: smooth deformations that give faces proportions which no face model has."""

from __future__ import annotations

import cv2
import numpy as np

from jr2net.face.landmarks import KEYPOINTS, MOUTH, NOSE_TIP

_EYES = (KEYPOINTS - 2, KEYPOINTS - 1)
_BENDS = 5
"""Random displacements along each side of the image, between which the deformation is interpolated."""

_MAGNIFICATION = 0.22
"""Standard deviation of how much larger or smaller eyes become; mouth and nose change by two thirds of it."""


def caricature(image: np.ndarray, keypoints: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Bends an image (S, S, 3) smoothly, and enlarges or shrinks eyes, nose and mouth; what they express stays.

    keypoints (70, 2): pixels, see ``face.landmarks``. Returns the image and the keypoints in it.
    """
    size = len(image)
    bends = rng.normal(0, 1, (_BENDS, _BENDS, 2)) * rng.uniform(0, 0.017 * size)
    shift = cv2.resize(bends.astype(np.float32), (size, size), interpolation=cv2.INTER_CUBIC)
    y, x = np.mgrid[0:size, 0:size].astype(np.float32)
    eyes, radius = rng.normal(0, _MAGNIFICATION), rng.uniform(0.08, 0.13)
    parts = [(keypoints[eye], eyes + rng.normal(0, 0.03), radius) for eye in _EYES]
    for centre in (keypoints[MOUTH].mean(0), keypoints[NOSE_TIP]):
        parts.append((centre, rng.normal(0, 2 / 3 * _MAGNIFICATION), rng.uniform(0.09, 0.17)))
    for (centre_x, centre_y), magnification, radius in parts:
        dx, dy = x - centre_x, y - centre_y
        near = np.exp(-(dx * dx + dy * dy) / (2 * (radius * size) ** 2)) * np.clip(magnification, -0.4, 0.45)
        shift -= np.stack([near * dx, near * dy], -1).astype(np.float32)
    bent = cv2.remap(image, x + shift[..., 0], y + shift[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
    return bent, _moved(keypoints, shift)


def _moved(points: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """Where points (K, 2) lie after a deformation: the pixel p of its result shows the point p + ``shift``[p]."""
    found = points.astype(np.float32)
    for _ in range(6):  # a fixed point: shifts vary by less than half a pixel from one pixel to the next
        there = cv2.remap(
            shift, found[None, :, 0], found[None, :, 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        found = points.astype(np.float32) - there[0]
    return found
