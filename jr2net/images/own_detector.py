"""Our own face detector: one small network that comes with the package, trained on synthetic people alone.

The network (``networks/detector.py``) looks twice: at the picture, or parts of it, for where faces may be, and then at
an upright square around each, for its score and its landmarks.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from importlib.resources import files

import numpy as np
import torch
import torch.nn.functional as F

from jr2net.face.landmarks import mirror_landmarks
from jr2net.images.arrays import to_tensor
from jr2net.images.crop import Crop
from jr2net.images.face_detector import DetectorError, Face
from jr2net.images.face_search import Detection, is_same, non_maximum_suppression, tiles
from jr2net.networks.checkpoint import load_network
from jr2net.networks.detector import Detector

CANDIDATE = 0.12
"""Least score of a cell of the first look; what it finds is looked at again."""

SCORE = 0.63
"""Least score of the second look: below, a face is not reported."""

PLAIN = 0.7
"""Least score of a smaller face beside one that is found."""

_BATCH = 8

_PARTS = (1, 2, 4)
"""The picture is searched as a whole and in tiles of these fractions of its longer side."""

_AT_ONCE = 32
"""Cells whose landmarks are looked at together."""

_NEAR = 0.3
"""In the second look, the greatest distance of a face's centre from that of the square, in sides of the square."""


class OwnDetector:
    """``FaceDetector`` of the package's weights. Thread-safe."""

    @staticmethod
    @lru_cache(maxsize=1)
    def load() -> OwnDetector:
        """The detector of the weights that come with the package, loaded once. Raises CheckpointError."""
        folder = str(files("jr2net") / "weights" / "detector")
        network = load_network(folder)
        if not isinstance(network, Detector):
            raise DetectorError(f"{folder}: holds a {type(network).__name__}; install the package again")
        return OwnDetector(network)

    def __init__(self, network: Detector) -> None:
        self.network = network.fused().to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def __call__(self, image: np.ndarray) -> list[Face]:
        return self._faces(image, thorough=True)

    def fast(self, image: np.ndarray) -> list[Face]:
        """As __call__, without a search for small faces beside a large one."""
        return self._faces(image, thorough=False)

    def glance(self, image: np.ndarray) -> list[Face]:
        """As __call__, without any search for faces that are small in the picture: a look or two, instead of 60 where
        there is no face."""
        return self._faces(image, thorough=False, parts=(1,))

    def _faces(self, image: np.ndarray, thorough: bool, parts: Sequence[int] = _PARTS) -> list[Face]:
        """The faces of the whole picture, and of overlapping tiles: those of half its side if ``thorough`` or while
        none is found, smaller ones while none is."""
        height, width = image.shape[:2]
        side, faces = max(height, width), list[Face]()
        for part in parts:
            if part > 1 and (side / part < self.network.side / 2 or (faces and (part > 2 or not thorough))):
                break
            found = self._look(image, tiles(width, height, side / part))
            seen = [
                self.look_at(image, square) for _, box, square in found if _is_new(Face.from_box(box.tolist()), faces)
            ]
            for face in sorted(filter(None, seen), key=lambda face: -face.score):
                if face.score >= (PLAIN if faces else SCORE) and _is_new(face, faces):
                    faces.append(face)
        return sorted(faces, key=lambda face: -face.area)

    @torch.inference_mode()
    def _answers(self, pictures: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Of pictures (S, S, 3) as the network sees them: logits (N, G, G), and landmarks (N, G, G, 68, 2)."""
        images = to_tensor(pictures).contiguous(memory_format=torch.channels_last)
        logits, landmarks = self.network(images)
        return logits.numpy(), landmarks.numpy()

    def _look(self, image: np.ndarray, squares: Sequence[Crop]) -> list[Detection]:
        """What may be a face in some squares of an image, the best first and each once."""
        found, side = list[Detection](), self.network.side
        for first in range(0, len(squares), _BATCH):
            part = squares[first : first + _BATCH]
            logits, landmarks = self._answers([square.apply(image, side) for square in part])
            peaks = F.max_pool2d(torch.from_numpy(logits), 3, 1, 1).numpy() == logits
            for number, row, column in np.argwhere(peaks & (logits > _logit(CANDIDATE))):
                points = part[number].to_image(landmarks[number, row, column].astype(np.float64), side)
                if (face := _face(points, _sigmoid(logits[number, row, column]))) is not None:
                    found.append((face.score, np.array(face.box), _upright_square(face)))
        return non_maximum_suppression(found)

    def look_at(self, image: np.ndarray, square: Crop) -> Face | None:
        """The face that fills most of a square of an image (H, W, 3) uint8; None where there is none at all.

        Seen twice, as it is and mirrored: the score and the landmarks are means.
        """
        side = self.network.side
        picture = square.apply(image, side)
        logits, landmarks = self._answers([picture, np.ascontiguousarray(picture[:, ::-1])])
        landmarks[1] = mirror_landmarks(landmarks[1], side)
        best = [_in_the_middle(*each, side) for each in zip(logits, landmarks)]
        logit, points = (
            float(np.mean([each[0] for each in best])),
            np.mean([each[1] for each in best], 0).astype(np.float64),
        )
        return _face(square.to_image(points, side), _sigmoid(logit))


def _in_the_middle(logits: np.ndarray, landmarks: np.ndarray, side: int) -> tuple[np.float32, np.ndarray]:
    """The greatest logit (G, G) of a face whose centre is near that of the square, and its landmarks (68, 2)."""
    logits, landmarks = logits.ravel(), landmarks.reshape(-1, *landmarks.shape[2:])
    order = np.argsort(-logits, kind="stable")
    for first in range(0, len(order), _AT_ONCE):  # nearly always one of the first
        cells = order[first : first + _AT_ONCE]
        points = landmarks[cells]
        distance = np.linalg.norm((points.min(1) + points.max(1)) / 2 - side / 2, axis=-1)
        if (near := distance < _NEAR * side).any():
            cell = cells[np.argmax(near)]
            return logits[cell], landmarks[cell]
    return np.float32(_logit(1e-4)), landmarks[0]


def _is_new(face: Face, others: Sequence[Face]) -> bool:
    return not any(is_same(face, other) for other in others)


def _sigmoid(logit: float) -> float:
    return float(1 / (1 + np.exp(-logit)))


def _logit(probability: float) -> float:
    return float(np.log(probability / (1 - probability)))


def _face(landmarks: np.ndarray, score: float) -> Face | None:
    left, top, right, bottom = (float(value) for value in (*landmarks.min(0), *landmarks.max(0)))
    if not right - left >= 1 or not bottom - top >= 1:
        return None
    return Face((left, top, right, bottom), score, landmarks.astype(np.float32))


def _upright_square(face: Face) -> Crop:
    assert face.landmarks is not None
    return Crop.from_landmarks(face.landmarks, roll=face.roll())
