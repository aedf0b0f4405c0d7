"""The parameters that RecNet regresses: inputs of Eq. 1, the camera and the light model."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from jr2net.device import to_device


@dataclass(frozen=True)
class FaceParameters:
    """A batch of B faces. K, E and A depend on the face model (80, 51, 64 in the paper).

    identity     (B, K)     in standard deviations
    expression   (B, E)     ARKit coefficients in [0, 1], order of ``arkit.ARKIT_NAMES``
    albedo       (B, A)     in standard deviations
    rotation     (B, 3)     Euler angles (pitch, yaw, roll) in radians; see ``camera.rotation_matrix``
    translation  (B, 3)     millimetres in camera space (x right, y down, z forward)
    light        (B, 9, 3)  spherical-harmonic coefficients per colour channel; see ``light.shade``
    """

    identity: Tensor
    expression: Tensor
    albedo: Tensor
    rotation: Tensor
    translation: Tensor
    light: Tensor

    def __len__(self) -> int:
        return self.identity.shape[0]

    def __getitem__(self, index: int | slice | Tensor) -> FaceParameters:
        """A sub-batch; an ``int`` keeps the batch dimension."""
        if isinstance(index, int):
            index = slice(index, index + 1 or None)
        return self.map(lambda value: value[index])

    def map(self, function: Callable[[Tensor], Tensor]) -> FaceParameters:
        """The same parameters with ``function`` applied to every field."""
        return FaceParameters(**{field.name: function(getattr(self, field.name)) for field in fields(self)})

    def to(self, device: torch.device | str) -> FaceParameters:
        return self.map(lambda value: to_device(value, torch.device(device)))

    def detach(self) -> FaceParameters:
        return self.map(Tensor.detach)

    def replace(self, **changes: Tensor) -> FaceParameters:
        """A copy with some fields replaced: ``source.replace(expression=captured)`` is the paper's
        expression-specific generation."""
        return replace(self, **changes)

    def state(self) -> dict[str, Tensor]:
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @staticmethod
    def concatenate(parts: Iterable[FaceParameters]) -> FaceParameters:
        parts = list(parts)
        return FaceParameters(
            **{f.name: torch.cat([getattr(part, f.name) for part in parts]) for f in fields(FaceParameters)}
        )
