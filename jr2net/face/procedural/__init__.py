"""The procedural face: the default morphable model, generated entirely by code."""

from __future__ import annotations

import numpy as np
import torch

from jr2net.face.model import FaceModel
from jr2net.face.procedural.albedo import build_albedo
from jr2net.face.procedural.expression import build_expressions
from jr2net.face.procedural.identity import build_identities
from jr2net.face.procedural.mesh import LABELS, build_head, to_grid


def build_procedural_face() -> FaceModel:
    """A model with 80 identity, 51 expression and 64 albedo bases, labels, mirror map and texture coordinates.

    Takes about a second. Identical on every machine: all values are rounded to a grid much coarser than the numerical
    differences between processors.
    """
    head = build_head()
    albedo_mean, albedo_basis = build_albedo(head)

    def tensor(values: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(to_grid(values).astype(np.float32))

    return FaceModel(
        mean=tensor(head.vertices),
        faces=torch.from_numpy(np.ascontiguousarray(head.faces)),
        identity_basis=tensor(build_identities(head)),
        expression_basis=tensor(build_expressions(head)),
        albedo_mean=tensor(albedo_mean),
        albedo_basis=tensor(albedo_basis),
        landmarks=torch.from_numpy(head.landmarks),
        labels=torch.from_numpy(np.array([LABELS.index(label) for label in head.labels])),
        label_names=LABELS,
        mirror=torch.from_numpy(head.mirror),
        uv=tensor(head.uv),
        name="procedural face",
        license="MIT License, copyright (c) 2026 The JR2Net on Ray authors",
    )
