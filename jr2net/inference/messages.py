"""What travels to a network and back as plain arrays, so that the network may run in another process or machine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from jr2net.face.camera import Camera
from jr2net.face.parameters import FaceParameters

FaceArrays = dict[str, np.ndarray]
"""One face: the fields of ``FaceParameters``, float32, without the batch dimension."""


@dataclass(frozen=True)
class ModelInfo:
    """A loaded network: its kind, the digest of its weights, and the crop and camera that it was trained for.

    size: side of the crop in pixels. focal_ratio: focal length over that side.
    """

    kind: str
    digest: str
    size: int
    focal_ratio: float

    @property
    def camera(self) -> Camera:
        return Camera.default(self.size, self.focal_ratio)


@dataclass(frozen=True)
class Fit:
    """A fitted face, its 68 landmarks (68, 2) in crop pixels, and the network that predicted it."""

    face: FaceArrays
    landmarks: np.ndarray
    network: ModelInfo


@dataclass(frozen=True)
class ReenactRequest:
    """A source crop (any side, uint8 RGB), its face, and the face that the result should show."""

    crop: np.ndarray
    source: FaceArrays
    driving: FaceArrays


@dataclass(frozen=True)
class GeneratedCrop:
    """One generated crop of side S, and how the source's surface moved in it.

    image      (S, S, 3) uint8 RGB
    position   (S, S, 2) float32: for each pixel, where its surface point lies in the source crop, in source pixels
    covisible  (S, S) float32: 1 where ``position`` is valid, 0 where the source does not show that point
    changed    (S, S) float32: 1 on the face, in the source or as generated
    kept       (S, S) float32: 1 where the image is the source crop, unchanged
    """

    image: np.ndarray
    position: np.ndarray
    covisible: np.ndarray
    changed: np.ndarray
    kept: np.ndarray


@dataclass(frozen=True)
class ReenactResult:
    """The generated crop of a request, and the network that generated it."""

    crop: GeneratedCrop
    network: ModelInfo


def to_parameters(faces: Sequence[FaceArrays]) -> FaceParameters:
    """Several faces to one batch of them."""
    return FaceParameters(**{name: torch.from_numpy(np.stack([face[name] for face in faces])) for name in faces[0]})


def to_face_arrays(face: FaceParameters) -> FaceArrays:
    """The first face of a batch."""
    return {name: value[0].float().cpu().numpy() for name, value in face.state().items()}
