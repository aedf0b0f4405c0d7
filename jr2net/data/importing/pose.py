"""The pose of a head from landmarks, and 68 landmarks from five: the mean face under scaled orthography.

A face is small beside its distance, so that its projection is nearly ``x = s R₁₂ X + t``. The affine map that fits best
is solved for, and then replaced by the nearest such one (POS: D. DeMenthon and L. Davis, IJCV 1995).
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from jr2net.config import FaceConfig
from jr2net.data.readers.mat import euler_angles
from jr2net.data.readers.problems import FIVE_POINTS
from jr2net.face.landmarks import LANDMARKS, LEFT_EYE, NOSE_TIP, RIGHT_EYE
from jr2net.face.load import load_face_model

_IMAGE_AXES = np.array([1.0, -1.0])  # y is up in the model and down in a picture
_MOUTH_CORNERS = (48, 54)


@lru_cache(maxsize=1)
def mean_face() -> np.ndarray:
    """The 68 landmarks (68, 3) of the procedural model's mean face, mm, model axes."""
    model = load_face_model(FaceConfig())
    return model.mean[model.landmarks].double().numpy()


def five_of(landmarks: np.ndarray) -> np.ndarray:
    """68 landmarks (68, D) to (5, D): the middles of the eyes, the tip of the nose, the corners of the mouth."""
    right, left = landmarks[RIGHT_EYE].mean(0), landmarks[LEFT_EYE].mean(0)
    return np.stack([right, left, landmarks[NOSE_TIP], *landmarks[list(_MOUTH_CORNERS)]])


def head_rotation(points: np.ndarray) -> np.ndarray:
    """(pitch, yaw, roll) in radians, as in ``FaceParameters``, of landmarks (68, 2) or (5, 2), NaN where unknown."""
    rotation, _, _ = _fit(points)
    return euler_angles(rotation)


def landmarks_from_five(points: np.ndarray) -> np.ndarray:
    """The mean face's 68 landmarks (68, 2) float32, posed so that its five lie where ``points`` (5, 2) do.

    Roughly right: shape and expression are the mean's.
    """
    rotation, scale, shift = _fit(points)
    return ((scale * mean_face() @ rotation[:2].T) * _IMAGE_AXES + shift).astype(np.float32)


def _fit(points: np.ndarray) -> tuple[np.ndarray, float, np.ndarray]:
    """Rotation (3, 3) of the model, pixels per mm, and where the model's origin lies in the picture (2,)."""
    shape = mean_face() if len(points) == LANDMARKS else five_of(mean_face())
    assert len(points) in (LANDMARKS, FIVE_POINTS)
    known = np.isfinite(points).all(-1)
    shape, seen = shape[known], np.asarray(points, np.float64)[known]
    affine = np.linalg.lstsq(shape - shape.mean(0), (seen - seen.mean(0)) * _IMAGE_AXES, rcond=None)[0].T
    left, scales, right = np.linalg.svd(affine, full_matrices=False)
    rows = left @ right
    rotation = np.vstack([rows, np.cross(rows[0], rows[1])])
    scale = float(scales.mean())
    shift = seen.mean(0) - scale * (rotation[:2] @ shape.mean(0)) * _IMAGE_AXES
    return rotation, scale, shift
