"""MediaPipe's face detector: BlazeFace, short range, and the face mesh of 468 points (Apache 2.0), run with OpenCV.

They come from MediaPipe's wheel, which is not imported and is an optional extra: ``make detector`` installs it.
"""

from __future__ import annotations

import importlib.util
import os
import threading
from pathlib import Path

import cv2
import numpy as np

from jr2net.face.landmarks import OUTER_EYE_CORNERS
from jr2net.images.crop import Crop
from jr2net.images.face_detector import DetectorError, Face
from jr2net.images.face_search import Detection, is_same, non_maximum_suppression, tiles

MODELS_VARIABLE = "JR2NET_DETECTOR_MODELS"
"""Environment variable: the folder of the ``.tflite`` files. Default: MediaPipe's wheel."""

_DETECTION, _MESH = "face_detection_short_range.tflite", "face_landmark.tflite"
_DETECTION_SIDE, _MESH_SIDE = 128, 192
_SCORE, _MESH_SCALE = 0.5, 1.5  # MediaPipe's defaults
_UPRIGHT_SCORE = 0.8
"""BlazeFace finds faces that lie on their side or stand on their head too, but with lower scores: of 150 faces of real
clips the upright ones had 0.78 to 0.96 (1st to 99th percentile), the same ones upside down 0.26 to 0.79. Landmarks of
those are wrong, although the mesh is sure of them. Of the four turns the right one scored best in 98.7 %."""
_TURNS = tuple(np.deg2rad((90.0, -90.0, 180.0)))

# Index into the 468 mesh points of each of iBUG's 68 landmarks.
_IBUG = (
    127, 234, 93, 58, 172, 136, 149, 148, 152, 377, 378, 365, 397, 288, 323, 454, 356,
    70, 63, 105, 66, 107, 336, 296, 334, 293, 300, 168, 197, 5, 4, 75, 97, 2, 326, 305,
    33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380,
    61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181, 78, 82, 13, 312, 308, 317, 14, 87,
)  # fmt: skip


class MediaPipeDetector:
    """BlazeFace (Bazarevsky et al. 2019) and the face mesh of Kartynnik et al. 2019. Thread-safe."""

    @staticmethod
    def load(folder: str | Path | None = None) -> MediaPipeDetector:
        """Loads the ``.tflite`` files in ``folder``, by default those of MediaPipe's wheel. Raises DetectorError."""
        return MediaPipeDetector(*(_find(name, folder) for name in (_DETECTION, _MESH)))

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

    def _faces(self, image: np.ndarray, detections: list[Detection]) -> list[Face]:
        faces: list[Face] = []
        for score, _, square in non_maximum_suppression(detections):
            face = self._landmarks(image, square, score)
            if face is not None and not any(is_same(face, other) for other in faces):
                faces.append(face)
        return sorted(faces, key=lambda face: -face.area)

    def _detections(self, image: np.ndarray, thorough: bool) -> list[Detection]:
        """Squares around faces in the whole image, and in overlapping tiles of 1/2 and 1/4 of its side.

        Tiles are searched while no face is found. If ``thorough``, those of 1/2 are searched in any case, and heads
        that are not plainly upright are searched for in the turned image as well, where the best score decides.
        """
        height, width = image.shape[:2]
        side = max(height, width)
        found: list[Detection] = []
        for part in (1, 2, 4):
            if part > 1 and (side / part < _DETECTION_SIDE or (found and (part > 2 or not thorough))):
                break
            parts = tiles(width, height, side / part)
            new = [face for tile in parts for face in self._detect(image, tile)]
            if found:  # beside a face that is found, smaller ones have to be plain
                found += [face for face in new if face[0] >= _UPRIGHT_SCORE]
                continue
            weakest = min((score for score, *_ in non_maximum_suppression(new)), default=0.0)
            if thorough and part <= 2 and weakest < _UPRIGHT_SCORE:
                turned = [Crop(tile.center, tile.side, turn) for tile in parts for turn in _TURNS]
                new += [face for tile in turned for face in self._detect(image, tile)]
            found = new
        return found

    def _detect(self, image: np.ndarray, tile: Crop) -> list[Detection]:
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
            "MediaPipe's face detector is not installed: run `make detector` (pip install --no-deps "
            f"mediapipe==0.10.21), or set {MODELS_VARIABLE} to a folder with {_DETECTION} and {_MESH}"
        )
    if not path.is_file():
        raise DetectorError(f"{path}: does not exist; give the folder that holds {_DETECTION} and {_MESH}")
    return path
