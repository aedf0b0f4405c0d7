"""The square crop of an image that the networks take as input, and its inverse.

Preparation, training, synthesis and serving all crop faces with this class. Pixel edges lie at integers and pixel
centres at +0.5, in the image and in the crop.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np


@dataclass(frozen=True)
class Crop:
    """A square in an image: centre (x, y) and side in pixels, roll in radians.

    A positive roll turns the square clockwise (x right, y down): a head tilted clockwise by the same angle is upright
    in the crop.
    """

    center: tuple[float, float]
    side: float
    roll: float = 0.0

    def __post_init__(self) -> None:
        if not (np.isfinite([*self.center, self.side, self.roll]).all() and self.side > 0):
            raise ValueError(f"{self}: a crop needs a finite centre and roll and a positive side")

    def scaled(self, factor: float) -> Crop:
        """The same square in a picture whose sides are ``factor`` times as long."""
        x, y = self.center
        return Crop((factor * x, factor * y), factor * self.side, self.roll)

    @staticmethod
    def from_landmarks(landmarks: np.ndarray, scale: float = 1.7, shift_up: float = 0.08, roll: float = 0.0) -> Crop:
        """The crop around landmarks (68, 2): ``scale`` times their bounding box, shifted up by ``shift_up`` of the box.

        roll: of the crop; the box is then that of the upright head. NaN points are ignored. Raises ValueError without
        two distinct points.
        """
        points = np.asarray(landmarks, np.float64).reshape(-1, 2)
        points = points[np.isfinite(points).all(-1)]
        if roll:
            turned = Crop((0.0, 0.0), 1.0, roll)
            upright = Crop.from_landmarks(turned.to_crop(points, 1.0), scale, shift_up)
            x, y = turned.to_image(np.array(upright.center), 1.0)
            return Crop((float(x), float(y)), upright.side, roll)
        low, high = (points.min(0), points.max(0)) if len(points) else (np.zeros(2), np.zeros(2))
        box = float((high - low).max())
        if box <= 0:
            raise ValueError(f"landmarks: {len(points)} points detected, a crop needs at least two distinct ones")
        x, y = (low + high) / 2
        return Crop((float(x), float(y - shift_up * box)), scale * box)

    def matrix(self, size: float) -> np.ndarray:
        """(2, 3) affine from image points to points of a crop of ``size`` pixels."""
        cosine, sine = np.cos(self.roll), np.sin(self.roll)
        turn = np.array([[cosine, sine], [-sine, cosine]]) * (size / self.side)
        return np.hstack([turn, (size / 2 - turn @ np.asarray(self.center))[:, None]])

    def to_crop(self, points: np.ndarray, size: float) -> np.ndarray:
        """Image points (..., 2) to crop points."""
        return transform(points, self.matrix(size)).astype(np.asarray(points).dtype)

    def to_image(self, points: np.ndarray, size: float) -> np.ndarray:
        """Crop points (..., 2) to image points."""
        return transform(points, cv2.invertAffineTransform(self.matrix(size))).astype(np.asarray(points).dtype)

    def leaves(self, image: np.ndarray) -> bool:
        """Whether a part of the square lies outside of an image (H, W, …)."""
        corners = self.to_image(np.array([[0.0, 0], [1, 0], [0, 1], [1, 1]]), 1)
        beyond = np.maximum(-corners, corners - image.shape[1::-1])
        return bool(beyond.max() > 1e-3)  # of a pixel: not by rounding alone

    def apply(self, image: np.ndarray, size: int, continued: bool = False) -> np.ndarray:
        """Crops an image (H, W, 3) uint8 or float32 to (size, size, 3).

        Outside of the image it is black, or, if ``continued``, the outermost pixels of the image go on. Shrinks by area
        averaging; enlarges and rotates by interpolation.
        """
        height, width = image.shape[:2]
        corners = self.to_image(np.array([[0.0, 0], [size, 0], [0, size], [size, size]]), size)
        margin = 2 * max(1.0, self.side / size)
        left, top = np.clip(np.floor(corners.min(0) - margin), 0, (width, height)).astype(int)
        right, bottom = np.clip(np.ceil(corners.max(0) + margin), 0, (width, height)).astype(int)
        if right - left < 1 or bottom - top < 1:
            return np.zeros((size, size, 3), image.dtype)
        region = image[top:bottom, left:right]
        to_crop = self.matrix(size) @ np.array([[1.0, 0, left], [0, 1, top], [0, 0, 1]])
        return resample(region, to_crop, size, cv2.BORDER_REPLICATE if continued else cv2.BORDER_CONSTANT)

    def paste_back(self, image: np.ndarray, patch: np.ndarray, feather: float = 0.05) -> np.ndarray:
        """The image (H, W, 3) with the crop's square replaced by ``patch`` (S, S, 3) of the same dtype.

        The patch fades into the image over the outer ``feather`` of the square's side.
        """
        side = max(1, round(self.side))
        if side < patch.shape[0]:
            patch = cv2.resize(patch, (side, side), interpolation=cv2.INTER_AREA)
        size = patch.shape[0]
        matrix = index_matrix(cv2.invertAffineTransform(self.matrix(size)))
        shape = (image.shape[1], image.shape[0])
        back = cv2.warpAffine(patch, matrix, shape, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        weight = cv2.warpAffine(square_weight(size, feather), matrix, shape)[..., None]
        mixed = image * (1 - weight) + back * weight
        return np.rint(mixed).astype(image.dtype) if image.dtype == np.uint8 else mixed.astype(image.dtype)


def transform(points: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Applies a (2, 3) affine to points (..., 2)."""
    return np.asarray(points) @ matrix[:, :2].T + matrix[:, 2]


def resample(image: np.ndarray, matrix: np.ndarray, size: int, border: int) -> np.ndarray:
    """Warps an image (H, W, C) by a (2, 3) affine to (size, size) pixels; shrinks by area averaging."""
    (across_x, down_x, _), (across_y, down_y, _) = matrix
    shrink = 1 / math.sqrt(abs(across_x * down_y - down_x * across_y))
    if shrink > 1.5:  # interpolation would skip pixels: first shrink by area to the target scale
        height, width = image.shape[:2]
        small = (max(1, round(width / shrink)), max(1, round(height / shrink)))
        image = cv2.resize(image, small, interpolation=cv2.INTER_AREA)
        matrix = matrix @ np.diag([width / small[0], height / small[1], 1.0])
    # Cubic, because bilinear interpolation would make training images less sharp than those of evaluation.
    return cv2.warpAffine(image, index_matrix(matrix), (size, size), flags=cv2.INTER_CUBIC, borderMode=border)


def square_weight(size: int, feather: float) -> np.ndarray:
    """Blend weights (size, size) float32: 1, falling to 0 over the outer ``feather`` of the square's side."""
    ramp = np.clip((np.minimum(np.arange(size), np.arange(size)[::-1]) + 0.5) / max(feather * size, 1e-6), 0, 1)
    return np.minimum.outer(ramp, ramp).astype(np.float32)


def index_matrix(matrix: np.ndarray) -> np.ndarray:
    """The same affine in OpenCV's coordinates, where pixel centres lie at integers instead of +0.5."""
    shifted = matrix.copy()
    shifted[:, 2] += 0.5 * matrix[:, :2].sum(1) - 0.5
    return shifted
