"""The exponential moving average of a network's weights."""

from __future__ import annotations

import torch
from torch import nn


@torch.no_grad()
def update_average(average: nn.Module, network: nn.Module, ema: float, steps: int) -> None:
    """Updates the exponential moving average of a network's weights.

    steps: how many steps the network was trained for before this one; the decay is smaller than ``ema`` in first steps.
    """
    decay = min(ema, (1 + steps) / (10 + steps))
    torch._foreach_lerp_(list(average.parameters()), list(network.parameters()), 1 - decay)
