"""What DCNet's generator and discriminator are told about the picture they should make or judge."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor

CONDITION_CHANNELS = 17


@dataclass(frozen=True)
class Conditions:
    """The paper's dense pixel-level conditions, in the driving view; S is the picture's side.

    normal        (B, 3, S, S)  unit normals in light axes, 0 outside the face
    light         (B, 3, S, S)  irradiance, 0 outside the face
    covisible     (B, 1, S, S)  1 where the source view shows the same surface point
    warped_image  (B, 3, S, S)  the source picture in the driving view (Eq. 2), 0 outside the face
    mask          (B, 1, S, S)  1 on the driving face
    head_warped   (B, 3, S, S)  the whole source picture moved with the head by an affine map
    rendered      (B, 3, S, S)  the driving face as the morphable model paints it, in [0, 1], 0 outside the face
    """

    normal: Tensor
    light: Tensor
    covisible: Tensor
    warped_image: Tensor
    mask: Tensor
    head_warped: Tensor
    rendered: Tensor

    def stack(self) -> Tensor:
        """(B, 17, S, S), in the order of the fields."""
        return torch.cat([getattr(self, field.name) for field in fields(self)], dim=1)

    def __getitem__(self, index: slice | Tensor) -> Conditions:
        return Conditions(*(getattr(self, field.name)[index] for field in fields(self)))

    def concatenate(self, other: Conditions) -> Conditions:
        """One batch after the other."""
        return Conditions(*(torch.cat([getattr(self, f.name), getattr(other, f.name)]) for f in fields(self)))
