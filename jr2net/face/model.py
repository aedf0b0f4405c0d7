"""The 3D morphable model of Eq. 1: ``v = ŝ + b_id α + b_exp β``, ``c = ĉ + b_c γ``."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from jr2net.errors import UserError
from jr2net.face.arkit import ARKIT_NAMES
from jr2net.face.light import ambient
from jr2net.face.parameters import FaceParameters


class FaceModelError(UserError, ValueError):
    """A face model that cannot be loaded or is inconsistent; the message names the source, the field and the remedy."""


@dataclass(frozen=True)
class FaceModel:
    """A morphable face model with N vertices, K identity, 51 expression and A albedo bases. Lengths in mm.

    mean              (N, 3) float32   x to the subject's left, y up, z out of the face
    faces             (F, 3) int64     triangles, counter-clockwise seen from outside
    identity_basis    (K, N, 3)        one standard deviation each
    expression_basis  (51, N, 3)       displacement at coefficient 1, order of ``ARKIT_NAMES``
    albedo_mean       (N, 3)           linear RGB reflectance in [0, 1]
    albedo_basis      (A, N, 3)        one standard deviation each
    landmarks         (68,) int64      vertex indices of the iBUG points
    labels            (N,) int64       index into ``label_names`` (skin, lips, teeth, sclera, …)
    label_names       names of the labels
    mirror            (N,) int64       index of the mirrored vertex
    uv                (N, 2)           texture coordinates in [0, 1]
    name, license     origin of the model
    """

    mean: Tensor
    faces: Tensor
    identity_basis: Tensor
    expression_basis: Tensor
    albedo_mean: Tensor
    albedo_basis: Tensor
    landmarks: Tensor
    labels: Tensor
    label_names: tuple[str, ...]
    mirror: Tensor
    uv: Tensor
    name: str = "unnamed"
    license: str = ""

    def __post_init__(self) -> None:
        n = self.mean.shape[0]
        expected = {
            "mean": (n, 3),
            "faces": (self.faces.shape[0], 3),
            "identity_basis": (self.identity_basis.shape[0], n, 3),
            "expression_basis": (len(ARKIT_NAMES), n, 3),
            "albedo_mean": (n, 3),
            "albedo_basis": (self.albedo_basis.shape[0], n, 3),
            "landmarks": (68,),
            "labels": (n,),
            "mirror": (n,),
            "uv": (n, 2),
        }
        for field, shape in expected.items():
            value = getattr(self, field)
            if tuple(value.shape) != shape:
                raise FaceModelError(f"{self.name}: {field} has shape {tuple(value.shape)}, expected {shape}")
            if value.is_floating_point() and not torch.isfinite(value).all():
                raise FaceModelError(f"{self.name}: {field} holds NaN or infinite values; export the model again")
        for field in ("faces", "landmarks", "mirror"):
            value = getattr(self, field)
            if value.min() < 0 or value.max() >= n:
                raise FaceModelError(f"{self.name}: {field} refers to vertices outside 0 … {n - 1}")

    @property
    def sizes(self) -> dict[str, int]:
        """Number of identity, expression and albedo parameters."""
        return {
            "identity": self.identity_basis.shape[0],
            "expression": self.expression_basis.shape[0],
            "albedo": self.albedo_basis.shape[0],
        }

    @cached_property
    def digest(self) -> str:
        """SHA-256 of mesh, bases and landmarks. Stored in checkpoints, since coefficients are specific to a model."""
        sha = hashlib.sha256()
        for field in (
            "mean",
            "faces",
            "identity_basis",
            "expression_basis",
            "albedo_mean",
            "albedo_basis",
            "landmarks",
        ):
            sha.update(np.ascontiguousarray(getattr(self, field).cpu().numpy()).tobytes())
        return sha.hexdigest()

    def to(self, device: torch.device | str) -> FaceModel:
        moved = {f.name: getattr(self, f.name).to(device) for f in fields(self) if f.name not in _PLAIN_FIELDS}
        return replace(self, **moved)

    def shape(self, identity: Tensor, expression: Tensor) -> Tensor:
        """Eq. 1, geometry: (B, K), (B, 51) -> model-space vertices (B, N, 3) in mm."""
        n = self.mean.shape[0]
        offset = identity @ self.identity_basis.flatten(1) + expression @ self.expression_basis.flatten(1)
        return self.mean + offset.view(-1, n, 3)

    def reflectance(self, albedo: Tensor) -> Tensor:
        """Eq. 1, colour: (B, A) -> per-vertex albedo (B, N, 3). Not clamped, so that gradients flow everywhere."""
        return self.albedo_mean + (albedo @ self.albedo_basis.flatten(1)).view(-1, *self.albedo_mean.shape)

    def has_label(self, *names: str) -> Tensor:
        """(N,) bool: vertices with one of these labels. Unknown names match nothing."""
        indices = [index for index, name in enumerate(self.label_names) if name in names]
        return torch.isin(self.labels, torch.tensor(indices, device=self.labels.device, dtype=self.labels.dtype))

    def neutral(self, batch: int, distance: float = 1080.0) -> FaceParameters:
        """The mean face, frontal, ``distance`` mm away, under grey light of irradiance 1."""
        device = self.mean.device
        zeros = {name: torch.zeros(batch, width, device=device) for name, width in self.sizes.items()}
        translation = torch.tensor([0.0, 0.0, distance], device=device).expand(batch, 3)
        light = ambient(1.0, device).expand(batch, -1, -1)
        return FaceParameters(
            **zeros, rotation=torch.zeros(batch, 3, device=device), translation=translation, light=light
        )


_PLAIN_FIELDS = ("label_names", "name", "license")
