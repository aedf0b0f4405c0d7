"""Spatially-adaptive modulation after SPADE (Park et al. 2019): conditions scale and shift normalised activations."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class ConditionEncoder(nn.Module):
    """Encodes conditions for the modulations of one scale: (B, C, S, S) -> (B, width, h, w)."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(inputs, width, 3, 1, 1)

    def forward(self, conditions: Tensor, size: tuple[int, int]) -> Tensor:
        if conditions.shape[-2:] != size:
            conditions = F.adaptive_avg_pool2d(conditions, size)
        return F.relu(self.convolution(conditions))


class Modulation(nn.Module):
    """Group-normalises x, then scales by 1 + γ and shifts by β, both predicted per pixel from the encoded conditions.

    Normalisation is per image (eight groups of channels), not across the batch, so results do not depend on workers.
    """

    def __init__(self, channels: int, condition_width: int) -> None:
        super().__init__()
        self.groups = math.gcd(channels, 8)
        self.scale_and_shift = nn.Conv2d(condition_width, 2 * channels, 1)

    def forward(self, x: Tensor, encoded: Tensor) -> Tensor:
        scale, shift = self.scale_and_shift(encoded).chunk(2, dim=1)
        return torch.addcmul(shift, F.group_norm(x, self.groups), 1 + scale)


class ModulatedBlock(nn.Module):
    """A residual block of two modulated 3 × 3 convolutions. x (B, C, h, w), encoded conditions (B, ·, h, w)."""

    def __init__(self, channels: int, condition_width: int) -> None:
        super().__init__()
        self.modulation1 = Modulation(channels, condition_width)
        self.convolution1 = nn.Conv2d(channels, channels, 3, 1, 1)
        self.modulation2 = Modulation(channels, condition_width)
        self.convolution2 = nn.Conv2d(channels, channels, 3, 1, 1)

    def forward(self, x: Tensor, encoded: Tensor) -> Tensor:
        y = self.convolution1(F.leaky_relu(self.modulation1(x, encoded), 0.2))
        y = self.convolution2(F.leaky_relu(self.modulation2(y, encoded), 0.2))
        return x + y
