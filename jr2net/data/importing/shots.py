"""The frames of a video as clips: where one begins, which crop follows the face, and which frames are good enough."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from scipy.ndimage import gaussian_filter1d

from jr2net.data.importing.following import Sight, box_of
from jr2net.data.importing.pose import head_rotation
from jr2net.data.importing.settings import Gates
from jr2net.face.landmarks import LEFT_EYE, RIGHT_EYE
from jr2net.images.crop import Crop
from jr2net.images.face_detector import UPRIGHT

SMOOTHING_S = 0.3
"""Standard deviation of the Gaussian that smooths a clip's crop over time, in seconds."""

LOST_S = 0.25
"""A face that is lost for longer begins a new clip when it is found again."""

_SHARPNESS_SIDE = 128
_FACE = (slice(24, 112), slice(24, 104))  # rows and columns of the face in a crop of that side


def shots(sights: Sequence[Sight], rate: float) -> list[list[Sight]]:
    """The frames that show a face, as clips: a new one begins at a cut, at another face, and after a loss.

    rate: numbers of frames per second.
    """
    found: list[list[Sight]] = []
    begins = True
    for sight in sights:
        begins = begins or sight.begins
        if sight.landmarks is None:
            continue
        if begins or sight.number - found[-1][-1].number > max(1.0, LOST_S * rate):
            found.append([])
        found[-1].append(sight)
        begins = False
    return found


def smoothed_crops(landmarks: Sequence[np.ndarray], seconds: np.ndarray | None) -> list[Crop]:
    """The crop of every frame of a clip, from its landmarks (68, 2) each.

    seconds: (T,) when the frames were taken; the square's centre and side are smoothed over time, and its roll is one
    for the whole clip: a head that is tilted by more than ``UPRIGHT`` on the average is turned upright. None: photos,
    each of which has a crop of its own.
    """
    rolls = np.array([_roll(points) for points in landmarks])
    if seconds is None:
        return [Crop.from_landmarks(p, roll=roll if abs(roll) >= UPRIGHT else 0.0) for p, roll in zip(landmarks, rolls)]
    mean = float(np.arctan2(np.sin(rolls).mean(), np.cos(rolls).mean()))
    roll = mean if abs(mean) >= UPRIGHT else 0.0
    crops = [Crop.from_landmarks(points, roll=roll) for points in landmarks]
    if len(crops) == 1:
        return crops
    path = np.array([(*crop.center, np.log(crop.side)) for crop in crops])
    step = max(float(np.median(np.diff(seconds))), 1e-3)
    smooth = gaussian_filter1d(path, SMOOTHING_S / step, axis=0, mode="nearest")
    return [Crop((float(x), float(y)), float(np.exp(side)), roll) for x, y, side in smooth]


def failed_gate(landmarks: np.ndarray, gates: Gates) -> str:
    """The reason why landmarks (68, 2) of a picture disqualify it, or ""."""
    left, top, right, bottom = box_of(landmarks)
    if max(right - left, bottom - top) < gates.size:
        return "small"
    if abs(np.degrees(head_rotation(landmarks)[1])) > gates.yaw:
        return "profile"
    return ""


def sharpness(crop: np.ndarray) -> float:
    """Standard deviation of the face's Laplacian over that of its grey values, in a crop (S, S, 3) uint8.

    It falls with blur and with enlargement, and hardly depends on contrast. Sharp footage has 0.3 to 0.7; a Gaussian
    blur of 2 pixels of a crop of 128 leaves 0.11.
    """
    shrinks = len(crop) > _SHARPNESS_SIDE
    small = cv2.resize(
        crop, (_SHARPNESS_SIDE, _SHARPNESS_SIDE), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
    )
    face = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY).astype(np.float32)[_FACE]
    return float(cv2.Laplacian(face, cv2.CV_32F).std() / (face.std() + 1e-3))


def _roll(landmarks: np.ndarray) -> float:
    """Clockwise tilt of the line through the eyes in radians; 0 where they are not known."""
    x, y = landmarks[LEFT_EYE].mean(0) - landmarks[RIGHT_EYE].mean(0)
    roll = float(np.arctan2(y, x))
    return roll if np.isfinite(roll) else 0.0
