"""The 68 iBUG landmarks: index ranges and mirroring. Points are (x, y) in pixels; pixel edges are at integers."""

from __future__ import annotations

import numpy as np

LANDMARKS = 68
JAW = slice(0, 17)
INNER = slice(17, 68)
"""The 51 points without the jaw line, whose positions along the contour differ between annotators."""

RIGHT_BROW, LEFT_BROW = slice(17, 22), slice(22, 27)  # left and right are the subject's
NOSE_BRIDGE, NOSE, NOSE_TIP = slice(27, 31), slice(27, 36), 30
RIGHT_EYE, LEFT_EYE = slice(36, 42), slice(42, 48)
OUTER_EYE_CORNERS = (36, 45)
MOUTH, OUTER_MOUTH, INNER_MOUTH = slice(48, 68), slice(48, 60), slice(60, 68)

_MIRRORED_RUNS = (
    (range(0, 17), range(16, -1, -1)),  # jaw line
    (range(17, 27), range(26, 16, -1)),  # brows
    (range(27, 31), range(27, 31)),  # nose bridge
    (range(31, 36), range(35, 30, -1)),  # nostrils
    (range(36, 42), (45, 44, 43, 42, 47, 46)),  # the subject's right eye
    (range(42, 48), (39, 38, 37, 36, 41, 40)),  # the subject's left eye
    (range(48, 55), range(54, 47, -1)),  # upper lip, outside
    (range(55, 60), range(59, 54, -1)),  # lower lip, outside
    (range(60, 65), range(64, 59, -1)),  # upper lip, inside
    (range(65, 68), range(67, 64, -1)),  # lower lip, inside
)

LANDMARK_MIRROR: tuple[int, ...] = tuple(partner for _, partners in _MIRRORED_RUNS for partner in partners)
"""``landmarks[LANDMARK_MIRROR]`` are the points of the mirrored image, once x is mirrored too."""


KEYPOINTS = 70
"""The 68 landmarks, and the centres of the irises: the subject's right one, then the left one."""

KEYPOINT_MIRROR: tuple[int, ...] = (*LANDMARK_MIRROR, 69, 68)
"""As ``LANDMARK_MIRROR``, of keypoints."""


def mirror_landmarks(landmarks: np.ndarray, width: float) -> np.ndarray:
    """Landmarks (..., 68, 2), or keypoints (..., 70, 2), of an image ``width`` pixels wide to those of the mirrored
    image."""
    order = KEYPOINT_MIRROR if landmarks.shape[-2] == KEYPOINTS else LANDMARK_MIRROR
    mirrored = landmarks[..., order, :].copy()
    mirrored[..., 0] = width - mirrored[..., 0]
    return mirrored
