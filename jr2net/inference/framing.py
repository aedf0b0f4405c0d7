"""How much of a face lies inside of its picture."""

from __future__ import annotations

import numpy as np

from jr2net.face.landmarks import LEFT_BROW, LEFT_EYE, RIGHT_BROW, RIGHT_EYE

_FOREHEAD = 0.5
"""Height from the brows to the hair, in heights from the chin to the brows: thirds, as in drawing."""

_CHIN = 8
_POINTS = 24  # along each side


def fraction_inside(shape: tuple[int, ...], landmarks: np.ndarray) -> float:
    """The fraction in [0, 1] of the area between jaw, chin and hairline that lies inside of a picture.

    The area is a rectangle along the line through the eyes, however the face is tilted; its forehead, which no landmark
    bounds, is taken to be half as high as the face below the brows. shape: of the picture, (H, W, …); landmarks (68, 2)
    in its pixels.
    """
    across = landmarks[LEFT_EYE].mean(0) - landmarks[RIGHT_EYE].mean(0)
    across = across / max(float(np.linalg.norm(across)), 1e-6)
    axes = np.stack([across, [across[1], -across[0]]])  # to the picture's right, and up
    points = landmarks @ axes.T
    (left, bottom), right = points.min(0), points[:, 0].max()
    brows = (points[LEFT_BROW, 1].mean() + points[RIGHT_BROW, 1].mean()) / 2
    top = brows + _FOREHEAD * (brows - points[_CHIN, 1])
    steps = (np.arange(_POINTS) + 0.5) / _POINTS
    x, y = np.meshgrid(left + steps * (right - left), bottom + steps * (top - bottom))
    at = np.stack([x, y], -1).reshape(-1, 2) @ axes
    height, width = shape[:2]
    return float(((at >= 0) & (at < [width, height])).all(1).mean())
