"""The output layers for ARKit coefficients, used by RecNet and ETNet."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from jr2net.face.landmarks import KEYPOINTS

# Coefficients start at sigmoid(-2.5) = 0.076: near neutral, where the sigmoid still has a useful gradient.
_START = -2.5
_GAIN = 2.0

_READ_AT = (68, 69, 19, 24, 21, 22, 48, 54, 51, 57, 62, 66, 31, 35, 8, 4, 12, 2, 14)
"""Keypoints whose surroundings are read: irises, brows, lips, nostrils, chin, jaw."""

_HIDDEN = 384
_SMALLEST_FACE = 0.05
"""Bound on the spread of the keypoints that they are divided by."""


class ExpressionHead(nn.Module):
    """Features (B, C) to coefficients (B, E) in [0, 1]; zero-initialised."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, outputs)
        _zero(self.linear)

    def forward(self, features: Tensor) -> Tensor:
        return torch.sigmoid(_GAIN * self.linear(features) + _START)


class KeypointExpressionHead(nn.Module):
    """Keypoints, the feature maps around them and pooled features to coefficients (B, E) in [0, 1].

    One hidden layer; the output is zero-initialised. The first 70 keypoints are those of ``face.landmarks``: their
    arrangement, whatever its place and size, is most of what shows an expression, and what the maps hold at irises,
    brows and lips is the rest.
    """

    read_at: Tensor

    def __init__(self, pooled: int, maps: Sequence[int], points: int, outputs: int) -> None:
        """pooled: number of pooled features; maps: channels of each map; points: number of keypoints, 70 or more."""
        super().__init__()
        # A buffer, because an index that is a tuple is uploaded to the GPU at every use.
        self.register_buffer("read_at", torch.tensor(_READ_AT), persistent=False)
        read = pooled + len(_READ_AT) * sum(maps)
        self.norm = nn.LayerNorm(read)
        self.hidden = nn.Linear(read + 2 * points + 2 * KEYPOINTS, _HIDDEN)
        self.linear = nn.Linear(_HIDDEN, outputs)
        _zero(self.linear)

    def forward(self, pooled: Tensor, maps: Sequence[Tensor], points: Tensor) -> Tensor:
        """pooled (B, C); maps: each (B, c, h, w); points (B, P, 2) in [-1, 1]."""
        # No gradient reaches the places: they are learnt from the keypoints' own loss.
        places = points[:, self.read_at].detach().unsqueeze(2)
        read = [F.grid_sample(m, places, padding_mode="border", align_corners=False).flatten(1) for m in maps]
        face = points[:, :KEYPOINTS]
        middle = face.mean(1, keepdim=True)
        spread = (face - middle).square().mean((1, 2), keepdim=True).sqrt()
        arrangement = (face - middle) / spread.clamp(min=_SMALLEST_FACE)
        features = [self.norm(torch.cat([pooled, *read], 1)), 2 * points.flatten(1), 2 * arrangement.flatten(1)]
        return torch.sigmoid(_GAIN * self.linear(F.gelu(self.hidden(torch.cat(features, 1)))) + _START)


def _zero(layer: nn.Linear) -> None:
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
