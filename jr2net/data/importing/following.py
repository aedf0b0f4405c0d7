"""Which face of a picture is meant, and the same face from frame to frame."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from jr2net.data.importing.pose import five_of, landmarks_from_five
from jr2net.data.readers.layout import Frame
from jr2net.images.crop import Crop
from jr2net.images.face_detector import Face, FaceDetector

Box = tuple[float, float, float, float]

_REGION = 3.0
"""Side of the region around a known face in which it is looked for, in sides of its box."""

_REGION_PIXELS = 512
_SAME = 0.3  # intersection over union of one face's boxes in consecutive frames
_NEAR = 0.4  # greatest mean distance of five points, in distances of the eyes
_CUT, _CUT_RATIO = 24.0, 3.0
_THUMB = 32


@dataclass(frozen=True)
class Sight:
    """What was found in a frame. landmarks: (68, 2) float32 pixels of the picture; None: no face."""

    number: int
    landmarks: np.ndarray | None
    begins: bool = False
    """Whether a clip begins here: after a cut, or with another face than before."""


class CutDetector:
    """Whether a frame (H, W, 3) uint8 is another picture than the one before: by the mean change of a thumbnail (of
    255), which has to be large, and large beside that of the frames before. One frame per call, in order."""

    def __init__(self) -> None:
        self._thumb: np.ndarray | None = None
        self._changes: list[float] = []

    def __call__(self, image: np.ndarray) -> bool:
        thumb = cv2.resize(image, (_THUMB, _THUMB), interpolation=cv2.INTER_AREA).astype(np.float32)
        before, self._thumb = self._thumb, thumb
        if before is None:
            return False
        change = float(np.abs(thumb - before).mean())
        usual = float(np.median(self._changes[-12:])) if self._changes else 0.0
        cut = change > max(_CUT, _CUT_RATIO * usual)
        self._changes = [] if cut else [*self._changes[-12:], change]
        return cut


class Follower:
    """Finds the face that is meant in the frames of one clip, one frame per call in order.

    detector: without one, frames need landmarks or five points.
    """

    def __init__(self, detector: FaceDetector | None, still: bool) -> None:
        self.detector, self.still = detector, still
        self._box: Box | None = None
        self._is_cut = CutDetector()

    def __call__(self, frame: Frame) -> Sight:
        cut = not self.still and self._is_cut(frame.image)
        if cut:
            self._box = None
        landmarks = frame.landmarks if frame.landmarks is not None else self._find(frame)
        if landmarks is None:
            return Sight(frame.number, None, cut)
        box = box_of(landmarks)
        other = self._box is not None and overlap(box, self._box) < _SAME and not self.still
        self._box = box
        return Sight(frame.number, landmarks, cut or other)

    def _find(self, frame: Frame) -> np.ndarray | None:
        if frame.points is not None:
            found = self._near_points(frame.image, frame.points) if self.detector is not None else None
            return landmarks_from_five(frame.points) if found is None else found
        if self.detector is None:
            return None
        if self._box is not None:
            before = self._box
            around = faces_around(self.detector, frame.image, before)
            near = max(around, key=lambda face: overlap(face.box, before), default=None)
            if near is not None and overlap(near.box, before) >= _SAME:
                return near.landmarks
        if frame.box is not None:
            around = faces_around(self.detector, frame.image, frame.box)
            inside = [face for face in around if centre_in(face.box, frame.box)]
            return inside[0].landmarks if inside else None
        faces = self.detector(frame.image)
        return faces[0].landmarks if faces else None

    def _near_points(self, image: np.ndarray, points: np.ndarray) -> np.ndarray | None:
        """Detected landmarks of the face whose five points these are."""
        assert self.detector is not None
        eyes = float(np.linalg.norm(points[1] - points[0]))
        for face in faces_around(self.detector, image, box_of(points), 2 * _REGION):
            if face.landmarks is not None:
                distance = np.linalg.norm(five_of(face.landmarks) - points, axis=-1).mean()
                if distance < _NEAR * max(eyes, float(np.linalg.norm(points[3] - points[0])) / 2):
                    return face.landmarks
        return None


def faces_around(
    detector: FaceDetector, image: np.ndarray, box: Box, scale: float = _REGION, roll: float = 0.0
) -> list[Face]:
    """The faces in a square around a box, the largest first; found where the whole picture may be too large.

    roll: clockwise tilt of the square in radians, so that a tilted head is upright in it.
    """
    left, top, right, bottom = box
    side = scale * max(right - left, bottom - top, 8.0)
    region = Crop(((left + right) / 2, (top + bottom) / 2), side, roll)
    size = min(_REGION_PIXELS, max(128, round(side)))
    faces = []
    for face in detector(region.apply(image, size)):
        if face.landmarks is not None:
            landmarks = region.to_image(face.landmarks.astype(np.float64), size).astype(np.float32)
            faces.append(Face(box_of(landmarks), face.score, landmarks))
    return faces


def box_of(points: np.ndarray) -> Box:
    """(left, top, right, bottom) around points (N, 2); NaN points are ignored."""
    left, top, right, bottom = (float(v) for v in (*np.nanmin(points, 0), *np.nanmax(points, 0)))
    return left, top, right, bottom


def overlap(a: Box, b: Box) -> float:
    """Intersection over union of two boxes."""
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    both = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - width * height
    return width * height / both if both > 0 else 0.0


def centre_in(face: Box, box: Box) -> bool:
    x, y = (face[0] + face[2]) / 2, (face[1] + face[3]) / 2
    return box[0] <= x <= box[2] and box[1] <= y <= box[3]
