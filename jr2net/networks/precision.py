"""Numerical precision: optional bfloat16 for networks, float32 for coordinates and coefficients."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn


def in_bfloat16(device: torch.device, network: Callable[..., Any], *arguments: Any) -> Any:
    """Runs a network in bfloat16 (autocast); the output is converted to float32."""
    with torch.autocast(device.type, torch.bfloat16):
        output = network(*arguments)
    if output is None:
        return None
    if isinstance(output, list | tuple):
        return type(output)(item.float() for item in output)
    return output.float() if isinstance(output, Tensor) else output.map(Tensor.float)


def in_float32(like: Tensor) -> AbstractContextManager[Any]:
    """Disables autocast in a part of a network; near 200, bfloat16 can only represent coordinates to one pixel."""
    kind = like.device.type
    return torch.autocast(kind, enabled=False) if torch.amp.is_autocast_available(kind) else nullcontext()


class Bfloat16(nn.Module):
    """Wraps a network to compute in bfloat16; inputs and outputs are float32."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, *arguments: Any) -> Any:
        return in_bfloat16(next(self.network.parameters()).device, self.network, *arguments)

    def encode(self, source_image: Tensor) -> Any:
        """As the network's, see ``render.scene``."""
        return in_bfloat16(source_image.device, self.network.encode, source_image)  # type: ignore[arg-type]


def prepare(network: nn.Module, precision: str = "fp32") -> nn.Module:
    """Prepares a network for inference, in place; ``bf16`` returns it wrapped in ``Bfloat16``.

    ``fp32`` changes only rounding: weights are in channels-last layout and 1 × 1 convolutions use the faster path
    explained in ``networks/resnet.py`` (Pointwise), which saves 10 to 20 % of the time at 224 pixels on a CPU. ``bf16``
    has an eight-bit mantissa.
    """
    nn.utils.convert_conv2d_weight_memory_format(network.eval(), torch.channels_last)
    for module in network.modules():
        if isinstance(module, nn.Conv2d) and module.kernel_size == (1, 1) and module.weight.device.type == "cpu":
            module.dilation = (2, 2)
    return Bfloat16(network) if precision == "bf16" else network
