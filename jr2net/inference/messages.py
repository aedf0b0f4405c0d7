"""Requests to the networks and their results as plain arrays, so that a network can run in another process."""

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
    """A loaded network.

    kind         the architecture: recnet, recaugnet, dcnet or flow3d
    digest       SHA-256 of its weights
    size         side of the crops that it was trained with, in pixels
    focal_ratio  focal length of its camera, as a multiple of that side
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
    """A source crop (side, side, 3) uint8 RGB of any side, its face, and the target face."""

    crop: np.ndarray
    source: FaceArrays
    driving: FaceArrays


@dataclass(frozen=True)
class GeneratedCrop:
    """A generated crop of side S, and what of it is the source crop moved.

    image     (S, S, 3) uint8 RGB
    position  (S, S, 2) float32: where in the source crop each pixel comes from, in pixels
    moved     (S, S) float32 in [0, 1]: 1 where it does come from there, 0 where it was drawn and ``position`` is void
    changed   (S, S) float32: 1 on the face, either in the source or in the generated image
    kept      (S, S) float32: 1 where the image equals the source crop
    """

    image: np.ndarray
    position: np.ndarray
    moved: np.ndarray
    changed: np.ndarray
    kept: np.ndarray


@dataclass(frozen=True)
class ReenactResult:
    """The generated crop of a request, and the network that generated it."""

    crop: GeneratedCrop
    network: ModelInfo


def to_parameters(faces: Sequence[FaceArrays]) -> FaceParameters:
    """Faces to a batch."""
    return FaceParameters(**{name: torch.from_numpy(np.stack([face[name] for face in faces])) for name in faces[0]})


def to_face_arrays(face: FaceParameters) -> FaceArrays:
    """The first face of a batch."""
    return {name: value[0].float().cpu().numpy() for name, value in face.state().items()}
