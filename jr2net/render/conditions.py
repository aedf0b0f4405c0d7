"""Dense conditions of DCNet's generator and discriminator."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor

CHANNELS = {
    "normal": 3,
    "light": 3,
    "covisible": 1,
    "warped_image": 3,
    "mask": 1,
    "head_warped": 3,
    "rendered": 3,
}
"""Channels of each field of ``Conditions``, in their order."""

CONDITION_CHANNELS = sum(CHANNELS.values())


@dataclass(frozen=True)
class Conditions:
    """The paper's dense pixel-level conditions and three more maps, in the driving view; S is the side of the image.

    normal        (B, 3, S, S)  unit normals in light axes, 0 outside the face
    light         (B, 3, S, S)  irradiance, 0 outside the face
    covisible     (B, 1, S, S)  1 where the source view shows the same surface point
    warped_image  (B, 3, S, S)  the source image warped into the driving view (Eq. 2), 0 outside the face
    mask          (B, 1, S, S)  1 on the driving face
    head_warped   (B, 3, S, S)  the whole source image moved with the head by an affine map
    rendered      (B, 3, S, S)  the driving face rendered with the model's albedo, in [0, 1], 0 outside the face
    """

    normal: Tensor
    light: Tensor
    covisible: Tensor
    warped_image: Tensor
    mask: Tensor
    head_warped: Tensor
    rendered: Tensor

    def stack(self, names: Sequence[str] = tuple(CHANNELS)) -> Tensor:
        """(B, C, S, S): the named fields concatenated along channels; all of them are 17 channels."""
        return torch.cat([getattr(self, name) for name in names], dim=1)

    def __getitem__(self, index: slice | Tensor) -> Conditions:
        return Conditions(*(getattr(self, field.name)[index] for field in fields(self)))

    def concatenate(self, other: Conditions) -> Conditions:
        """Concatenates two batches."""
        return Conditions(*(torch.cat([getattr(self, f.name), getattr(other, f.name)]) for f in fields(self)))
