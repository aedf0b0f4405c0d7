"""Networks that judge generated images and share nothing with the cascade: a face detector, Inception, a face embedder.

A figure whose judge is not there is missing, and ``Judges.missing`` says what it lacks. The cascade's own networks are
no judges: they were trained on the images, or with the losses, that they would have to judge.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from jr2net.evaluation.metrics.embedding import Moments
from jr2net.face.landmarks import LANDMARKS
from jr2net.images.arrays import resize, to_arrays
from jr2net.images.face_detector import DetectorError, Face, FaceDetector, load_face_detector
from jr2net.inference.reconstruction import Reconstructor
from jr2net.networks.inception import Inception
from jr2net.networks.weights import load_embedder

DETECTOR = "MediaPipe's face mesh"

_DETECTED_SIDE = 224
"""Crops are enlarged to this side for the detector, which misses smaller faces, and looks into parts of larger images
where it finds none in the whole."""


@dataclass(frozen=True)
class Judges:
    """detector: landmarks for EFL; inception: features for FID; embedder: identity. None: there is none.

    reads_truth  the detector stands in for one that is not installed: landmarks of driving images are, where it is
                 known, the truth's
    """

    detector: FaceDetector | None = None
    inception: nn.Module | None = None
    embedder: nn.Module | None = None
    reads_truth: bool = False

    @staticmethod
    def load(inception: str | None = None, embedder: str | None = None, device: torch.device | str = "cpu") -> Judges:
        """The independent face detector, and networks from files: Inception's weights for FID (``networks.inception``)
        and a face embedder as TorchScript (``networks.weights``). Raises WeightsError for a file that does not fit."""
        return Judges(
            independent_detector(),
            Inception(inception).to(device) if inception else None,
            load_embedder(embedder, device) if embedder else None,
        )

    def with_reader(self, reader: Reconstructor) -> Judges:
        """With an independent reconstruction network in the place of a face detector: one that shares neither weights
        nor training images with the cascade."""
        return replace(self, detector=partial(_read, reader), reads_truth=True)

    @property
    def missing(self) -> dict[str, str]:
        """Figure (``efl``, ``fid``, ``csim``) -> what it lacks."""
        found = {}
        if self.detector is None:
            found["efl"] = "no face detector is installed that shares nothing with the cascade: `make detector`"
        if self.inception is None:
            found["fid"] = "no weights of Inception for FID are given (pt_inception-2015-12-05-6726825d.pth)"
        if self.embedder is None:
            found["csim"] = "no face embedder is given (TorchScript, an image in [0, 1] to its embedding)"
        return found

    def landmarks(self, images: Tensor) -> Tensor | None:
        """Images (B, 3, S, S) in [0, 1] to landmarks (B, 68, 2) in pixels of S, NaN where no face is found; on the CPU.

        Of several faces the largest counts. None without a detector.
        """
        if self.detector is None:
            return None
        size = images.shape[-1]
        return torch.from_numpy(np.stack([self._detect(image, size) for image in to_arrays(images)]))

    def features(self, images: Tensor) -> Moments | None:
        """Moments of Inception's features of images (B, 3, S, S) in [0, 1]; None without Inception."""
        return None if self.inception is None else Moments.of(self.inception(images))

    def embeddings(self, images: Tensor) -> Tensor | None:
        """Images (B, 3, S, S) in [0, 1] to embeddings (B, C); None without an embedder."""
        return None if self.embedder is None else self.embedder(images)

    def _detect(self, image: np.ndarray, size: int) -> np.ndarray:
        assert self.detector is not None
        side = max(size, _DETECTED_SIDE)
        faces = self.detector(resize(image, side))
        if not faces or faces[0].landmarks is None:
            return np.full((LANDMARKS, 2), np.nan, np.float32)
        return faces[0].landmarks * np.float32(size / side)


def _read(reader: Reconstructor, image: np.ndarray) -> list[Face]:
    """The face that a network sees in a crop (S, S, 3), as a detector's."""
    (fit,) = reader.fit([image])
    points = fit.landmarks * np.float32(len(image) / fit.network.size)
    left, top, right, bottom = (float(value) for value in (*points.min(0), *points.max(0)))
    return [Face((left, top, right, bottom), 1.0, points)]


def independent_detector() -> FaceDetector | None:
    """MediaPipe's detector, which shares nothing with the cascade; None if it is not installed."""
    try:
        return load_face_detector("mediapipe")
    except DetectorError:
        return None
