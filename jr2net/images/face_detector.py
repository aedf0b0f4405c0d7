"""Face detection in uncropped photos: bounding boxes and 68 landmarks.

``FaceDetector`` is the interface: an image in, its faces out. The implementation runs two networks from MediaPipe's
wheel (BlazeFace, short range, and the face mesh of 468 points; Apache 2.0) with OpenCV and does not import MediaPipe.
They are an optional extra: ``make detector`` installs the wheel. Without them ``load_face_detector`` raises
DetectorError, and callers give the box of the face themselves (``Face.from_box``).
"""

from __future__ import annotations

import importlib.util
import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

from jr2net.errors import UserError
from jr2net.face.landmarks import LEFT_EYE, OUTER_EYE_CORNERS, RIGHT_EYE
from jr2net.images.crop import Crop

MODELS_VARIABLE = "JR2NET_DETECTOR_MODELS"
"""Environment variable: the folder of the ``.tflite`` files. Default: MediaPipe's wheel."""

_DETECTION, _MESH = "face_detection_short_range.tflite", "face_landmark.tflite"
_DETECTION_SIDE, _MESH_SIDE = 128, 192
_SCORE, _OVERLAP, _MESH_SCALE = 0.5, 0.3, 1.5  # MediaPipe's defaults
_UPRIGHT_SCORE = 0.8
"""BlazeFace finds faces that lie on their side or stand on their head too, but with lower scores: of 150 faces of real
clips the upright ones had 0.78 to 0.96 (1st to 99th percentile), the same ones upside down 0.26 to 0.79. Landmarks of
those are wrong, although the mesh is sure of them. Of the four turns the right one scored best in 98.7 %."""
_TURNS = tuple(np.deg2rad((90.0, -90.0, 180.0)))
UPRIGHT = np.deg2rad(25)
"""Heads that are tilted by more than this are turned upright in their crops."""

# Index into the 468 mesh points of each of iBUG's 68 landmarks.
_IBUG = (
    127, 234, 93, 58, 172, 136, 149, 148, 152, 377, 378, 365, 397, 288, 323, 454, 356,
    70, 63, 105, 66, 107, 336, 296, 334, 293, 300, 168, 197, 5, 4, 75, 97, 2, 326, 305,
    33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380,
    61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181, 78, 82, 13, 312, 308, 317, 14, 87,
)  # fmt: skip


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


def load_face_detector(folder: str | Path | None = None) -> FaceDetector:
    """Loads the detector from the ``.tflite`` files in ``folder``, by default those of MediaPipe's wheel.

    Raises DetectorError where they are missing.
    """
    detection, mesh = (_find(name, folder) for name in (_DETECTION, _MESH))
    return _BlazeFace(detection, mesh)


_Detection = tuple[float, np.ndarray, Crop]
"""BlazeFace's score, the box, and the square around the face that the mesh gets."""


class _BlazeFace:
    """BlazeFace (Bazarevsky et al. 2019) and the face mesh of Kartynnik et al. 2019. Thread-safe."""

    def __init__(self, detection: Path, mesh: Path) -> None:
        # OpenCV's newer engine returns a single output per run.
        self.detection = cv2.dnn.readNetFromTFLite(str(detection), cv2.dnn.ENGINE_CLASSIC)
        self.mesh = cv2.dnn.readNetFromTFLite(str(mesh), cv2.dnn.ENGINE_CLASSIC)
        self.anchors = _anchors()
        self.lock = threading.Lock()

    def __call__(self, image: np.ndarray) -> list[Face]:
        return self._faces(image, self._detections(image, thorough=True))

    def fast(self, image: np.ndarray) -> list[Face]:
        """As __call__, without a search for small faces beside a large one, or for heads upside down."""
        return self._faces(image, self._detections(image, thorough=False))

    def _faces(self, image: np.ndarray, detections: list[_Detection]) -> list[Face]:
        faces: list[Face] = []
        for score, _, square in _non_maximum_suppression(detections):
            face = self._landmarks(image, square, score)
            if face is not None and not any(_is_same(face, other) for other in faces):
                faces.append(face)
        return sorted(faces, key=lambda face: -face.area)

    def _detections(self, image: np.ndarray, thorough: bool) -> list[_Detection]:
        """Squares around faces in the whole image, and in overlapping tiles of 1/2 and 1/4 of its side.

        Tiles are searched while no face is found. If ``thorough``, those of 1/2 are searched in any case, and heads
        that are not plainly upright are searched for in the turned image as well, where the best score decides.
        """
        height, width = image.shape[:2]
        side = max(height, width)
        found: list[_Detection] = []
        for part in (1, 2, 4):
            if part > 1 and (side / part < _DETECTION_SIDE or (found and (part > 2 or not thorough))):
                break
            tiles = _tiles(width, height, side / part)
            new = [face for tile in tiles for face in self._detect(image, tile)]
            if found:  # beside a face that is found, smaller ones have to be plain
                found += [face for face in new if face[0] >= _UPRIGHT_SCORE]
                continue
            weakest = min((score for score, *_ in _non_maximum_suppression(new)), default=0.0)
            if thorough and part <= 2 and weakest < _UPRIGHT_SCORE:
                turned = [Crop(tile.center, tile.side, turn) for tile in tiles for turn in _TURNS]
                new += [face for tile in turned for face in self._detect(image, tile)]
            found = new
        return found

    def _detect(self, image: np.ndarray, tile: Crop) -> list[_Detection]:
        """(score, box, square around the face) of every face in one tile of the image."""
        with self.lock:
            self.detection.setInput(_network_input(image, tile, _DETECTION_SIDE) * 2 - 1)
            regressed, logits = self.detection.forward(["regressors", "classificators"])
        score = 1 / (1 + np.exp(-np.clip(logits[0, :, 0], -50, 50)))
        chosen = np.flatnonzero(score > _SCORE)
        points = regressed[0, chosen].reshape(-1, 8, 2).astype(np.float64)
        points[:, [0, *range(2, 8)]] += self.anchors[chosen, None] * _DETECTION_SIDE
        detections = []
        for confidence, (center, size, right_eye, left_eye, *_) in zip(score[chosen], points):
            center, right_eye, left_eye = (tile.to_image(p, _DETECTION_SIDE) for p in (center, right_eye, left_eye))
            side = float(size.max()) * tile.side / _DETECTION_SIDE
            if side < 1:
                continue
            x, y = left_eye - right_eye
            square = Crop((float(center[0]), float(center[1])), _MESH_SCALE * side, float(np.arctan2(y, x)))
            detections.append((float(confidence), np.concatenate([center - side / 2, center + side / 2]), square))
        return detections

    def _landmarks(self, image: np.ndarray, square: Crop, score: float) -> Face | None:
        """Landmarks from the face mesh, run twice: the second time on a square around the points of the first."""
        for _ in range(2):
            with self.lock:
                self.mesh.setInput(_network_input(image, square, _MESH_SIDE))
                logit, points = self.mesh.forward(["conv2d_31", "conv2d_21"])
            confidence = float(1 / (1 + np.exp(-np.clip(logit.ravel()[0], -50, 50))))
            mesh = points.reshape(-1, 3)[:, :2].astype(np.float64)
            if confidence < _SCORE:
                return None
            landmarks = square.to_image(mesh[list(_IBUG)], _MESH_SIDE)
            low, high = mesh.min(0), mesh.max(0)
            centre = square.to_image((low + high) / 2, _MESH_SIDE)
            right_corner, left_corner = landmarks[list(OUTER_EYE_CORNERS)]
            x, y = left_corner - right_corner
            side = _MESH_SCALE * float((high - low).max()) * square.side / _MESH_SIDE
            square = Crop((float(centre[0]), float(centre[1])), max(side, 1.0), float(np.arctan2(y, x)))
        left, top, right, bottom = (float(v) for v in (*landmarks.min(0), *landmarks.max(0)))
        if right - left < 1 or bottom - top < 1:
            return None
        return Face((left, top, right, bottom), min(score, confidence), landmarks.astype(np.float32))


def _network_input(image: np.ndarray, square: Crop, side: int) -> np.ndarray:
    """(1, 3, side, side) float32 in [0, 1] of a square of the image, black outside of the image."""
    return np.ascontiguousarray(square.apply(image, side).transpose(2, 0, 1)[None], np.float32) / 255


def _tiles(width: int, height: int, side: float) -> list[Crop]:
    """Squares of ``side`` that overlap by half and cover the image."""

    def centres(length: int) -> np.ndarray:
        if length <= side:
            return np.array([length / 2])
        return np.linspace(side / 2, length - side / 2, int(np.ceil(2 * (length - side) / side)) + 1)

    return [Crop((float(x), float(y)), side) for y in centres(height) for x in centres(width)]


def _non_maximum_suppression(detections: list[_Detection]) -> list[_Detection]:
    """One detection per face, the best first: those that overlap one of higher score are dropped."""
    kept: list[_Detection] = []
    for detection in sorted(detections, key=lambda item: -item[0]):
        if all(_overlap(detection[1], other) < _OVERLAP for _, other, _ in kept):
            kept.append(detection)
    return kept


def _is_same(face: Face, other: Face) -> bool:
    """Whether most of the smaller face lies in the other: a tile that cuts a face shows a part of it."""
    a, b = np.array(face.box), np.array(other.box)
    shared = np.prod(np.clip(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0, None))
    return bool(shared > 0.5 * min(face.area, other.area))


def _overlap(a: np.ndarray, b: np.ndarray) -> float:
    """Intersection over union of two boxes."""
    shared = np.prod(np.clip(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0, None))
    return float(shared / (np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2]) - shared))


def _anchors() -> np.ndarray:
    """Centres (896, 2) of BlazeFace's anchors, as fractions of the image's side."""
    grids = []
    for cells, repeated in ((16, 2), (8, 6)):
        centre = (np.arange(cells) + 0.5) / cells
        grid = np.stack(np.meshgrid(centre, centre), -1).reshape(-1, 2)
        grids.append(np.repeat(grid, repeated, 0))
    return np.concatenate(grids)


def find_model(name: str, folder: str | Path | None) -> Path | None:
    """One of MediaPipe's model files: where ``folder`` or else MODELS_VARIABLE say that it is, or else in its wheel.

    None if neither says anything and the wheel is not installed.
    """
    given = folder or os.environ.get(MODELS_VARIABLE)
    if given:
        return Path(given, name)
    wheel = importlib.util.find_spec("mediapipe")
    for root in (wheel.submodule_search_locations or []) if wheel else []:
        for path in Path(root, "modules").glob(f"*/{name}"):
            return path
    return None


def _find(name: str, folder: str | Path | None) -> Path:
    path = find_model(name, folder)
    if path is None:
        raise DetectorError(
            "no face detector is installed: run `make detector` (pip install --no-deps mediapipe==0.10.21), or set "
            f"{MODELS_VARIABLE} to a folder with {_DETECTION} and {_MESH}"
        )
    if not path.is_file():
        raise DetectorError(f"{path}: does not exist; give the folder that holds {_DETECTION} and {_MESH}")
    return path
