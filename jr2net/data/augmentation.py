"""Augmentation of training images: random crop, mirroring, colour gains."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from jr2net.face.landmarks import mirror_landmarks
from jr2net.images.crop import resample, transform


@dataclass(frozen=True)
class Framing:
    """A random crop: shift (x, y) as fractions of the side, scale, roll in radians."""

    shift: tuple[float, float] = (0.0, 0.0)
    scale: float = 1.0
    roll: float = 0.0

    @staticmethod
    def draw(rng: np.random.Generator, jitter: float) -> Framing:
        """Shift up to ± ``jitter`` / 2, scale 1 ± ``jitter``, roll up to ± min(100 ``jitter``, 10) degrees."""
        shift_x, shift_y, scale, roll = rng.uniform(-1, 1, 4)
        return Framing(
            shift=(0.5 * jitter * shift_x, 0.5 * jitter * shift_y),
            scale=1 + jitter * scale,
            roll=np.deg2rad(min(100 * jitter, 10)) * roll,
        )

    def matrix(self, width: int, size: int, mirrored: bool) -> np.ndarray:
        """(2, 3) affine from points of an image ``width`` pixels wide to points of the batch's, ``size`` wide."""
        # Plain floats: this runs for every image of every step, and NumPy is slow on arrays this small.
        scale = self.scale * size / width
        cosine, sine = scale * math.cos(self.roll), scale * math.sin(self.roll)
        sign = -1 if mirrored else 1  # mirroring first flips x about the middle
        rows = (sign * cosine, -sine), (sign * sine, cosine)
        return np.array(
            [(x, y, size * (0.5 + shift) - (x + y) * width / 2) for (x, y), shift in zip(rows, self.shift, strict=True)]
        )


def draw_gain(rng: np.random.Generator, jitter: float) -> np.ndarray:
    """Random brightness and white balance: a factor per colour channel (3,), 1 ± about 3 ``jitter``."""
    return ((1 + 2 * jitter * rng.uniform(-1, 1)) * (1 + jitter * rng.uniform(-1, 1, 3))).astype(np.float32)


def frame_image(image: np.ndarray, framing: Framing, mirrored: bool, size: int) -> np.ndarray:
    """Crops an image (W, W, 3), or a matte (W, W), uint8 to ``size``; beyond its edges it is reflected."""
    return resample(image, framing.matrix(image.shape[0], size, mirrored), size, cv2.BORDER_REFLECT_101)


def frame_landmarks(landmarks: np.ndarray, width: int, framing: Framing, mirrored: bool, size: int) -> np.ndarray:
    """Landmarks (68, 2), or keypoints (70, 2), of an image ``width`` pixels wide in the coordinates of
    ``frame_image``'s result."""
    points = mirror_landmarks(landmarks, width) if mirrored else landmarks
    return transform(points, framing.matrix(width, size, mirrored=False)).astype(np.float32)
