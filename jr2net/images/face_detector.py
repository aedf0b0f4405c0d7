"""Face detection in uncropped photos: bounding boxes and 68 landmarks.

``FaceDetector`` is the interface: an image in, its faces out. There are two detectors: our own, whose weights come with
the package (``own_detector.py``), and MediaPipe's, an optional extra (``mediapipe_detector.py``).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, get_args

import numpy as np

from jr2net.errors import UserError
from jr2net.face.landmarks import LEFT_EYE, RIGHT_EYE
from jr2net.images.crop import Crop

DetectorName = Literal["own", "mediapipe"]
DETECTORS: tuple[DetectorName, ...] = get_args(DetectorName)

DETECTOR_VARIABLE = "JR2NET_DETECTOR"
"""Environment variable: ``own``, the default, or ``mediapipe``. Our own finds more (``docs/results.md``)."""

UPRIGHT = np.deg2rad(25)
"""Heads that are tilted by more than this are turned upright in their crops."""


class DetectorError(UserError, RuntimeError):
    """A detector that is not installed or cannot be read; the message names the remedy."""


@dataclass(frozen=True)
class Face:
    """A face in an image. Pixel edges lie at integers.

    box        (left, top, right, bottom) around brows, jaw and chin: the box of the 68 landmarks
    score      the lower of the detector's and the mesh's confidence, in [0, 1]; 1 if a caller gave the box
    landmarks  (68, 2) float32 image pixels, None if only the box is known
    """

    box: tuple[float, float, float, float]
    score: float = 1.0
    landmarks: np.ndarray | None = None

    @staticmethod
    def from_box(box: Sequence[float]) -> Face:
        """A face given by its box. Raises ValueError where the box has no area or is not finite."""
        left, top, right, bottom = (float(value) for value in box)
        if not np.isfinite([left, top, right, bottom]).all() or right - left < 1 or bottom - top < 1:
            raise ValueError(
                f"box {[left, top, right, bottom]}: give left, top, right, bottom in pixels, in this order"
            )
        return Face((left, top, right, bottom))

    def scaled(self, factor: float) -> Face:
        """The same face in a picture whose sides are ``factor`` times as long."""
        left, top, right, bottom = (factor * value for value in self.box)
        landmarks = None if self.landmarks is None else self.landmarks * np.float32(factor)
        return Face((left, top, right, bottom), self.score, landmarks)

    @property
    def area(self) -> float:
        left, top, right, bottom = self.box
        return (right - left) * (bottom - top)

    def crop(self) -> Crop:
        """The networks' input square, as in training: 1.7 times the box, shifted up.

        Heads tilted by more than 25° are turned upright; smaller tilts stay, since the networks predict them.
        """
        if self.landmarks is None:
            return Crop.from_landmarks(np.reshape(self.box, (2, 2)))
        roll = self.roll()
        return Crop.from_landmarks(self.landmarks, roll=roll if abs(roll) >= UPRIGHT else 0.0)

    def roll(self) -> float:
        """Clockwise tilt of the line through the eyes, radians; 0 without landmarks."""
        if self.landmarks is None:
            return 0.0
        x, y = self.landmarks[LEFT_EYE].mean(0) - self.landmarks[RIGHT_EYE].mean(0)
        return float(np.arctan2(y, x))


class FaceDetector(Protocol):
    def __call__(self, image: np.ndarray, /) -> list[Face]:
        """The faces in an image (H, W, 3) uint8 RGB, the largest first; an empty list if there is none."""


def detector_for_frames(detector: FaceDetector | None) -> FaceDetector | None:
    """The same detector for the frames of a video, where it has one: faster, but small faces beside a large one are
    not found."""
    return getattr(detector, "fast", detector)


def load_face_detector(name: DetectorName | None = None, folder: str | Path | None = None) -> FaceDetector:
    """Loads a detector; None: the one that ``DETECTOR_VARIABLE`` names, or else our own.

    folder: of MediaPipe's ``.tflite`` files, by default those of its wheel. Raises DetectorError where the one that
    is asked for is not installed.
    """
    from jr2net.images.mediapipe_detector import MediaPipeDetector
    from jr2net.images.own_detector import OwnDetector

    chosen = name or os.environ.get(DETECTOR_VARIABLE) or DETECTORS[0]
    if chosen not in DETECTORS:
        raise DetectorError(f"{DETECTOR_VARIABLE}={chosen}: there is no such detector; give {' or '.join(DETECTORS)}")
    return OwnDetector.load() if chosen == "own" else MediaPipeDetector.load(folder)
