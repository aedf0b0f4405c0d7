"""The output layer for ARKit coefficients, used by RecNet and ETNet."""

from __future__ import annotations

import torch
from torch import Tensor, nn

# Coefficients start at sigmoid(-2.5) = 0.076: near neutral, where the sigmoid still has a useful gradient.
_START = -2.5
_GAIN = 2.0


class ExpressionHead(nn.Module):
    """Features (B, C) to coefficients (B, E) in [0, 1]; zero-initialised."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, outputs)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, features: Tensor) -> Tensor:
        return torch.sigmoid(_GAIN * self.linear(features) + _START)
