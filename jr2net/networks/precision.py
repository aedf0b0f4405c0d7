"""What networks compute in: bfloat16 where that is asked for, and float32 wherever places and coefficients are read."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from jr2net.face.parameters import FaceParameters


def in_bfloat16(device: torch.device, network: Callable[..., Any], *arguments: Any) -> Any:
    """What a network answers, in float32, its convolutions computed in bfloat16 (autocast)."""
    with torch.autocast(device.type, torch.bfloat16):
        answer = network(*arguments)
    return answer.map(Tensor.float) if isinstance(answer, FaceParameters) else answer.float()


def in_float32(like: Tensor) -> AbstractContextManager[Any]:
    """A part of a network that autocast leaves alone: in 200 pixels, bfloat16 tells places apart to one."""
    kind = like.device.type
    return torch.autocast(kind, enabled=False) if torch.amp.is_autocast_available(kind) else nullcontext()


class Bfloat16(nn.Module):
    """A network that computes in bfloat16; what it takes and answers is float32."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, *arguments: Any) -> Any:
        return in_bfloat16(next(self.network.parameters()).device, self.network, *arguments)


def prepare(network: nn.Module, precision: str = "fp32") -> nn.Module:
    """The network itself, changed in place to only answer, or what wraps it.

    ``fp32`` rounds differently; ``bf16`` has eight bits of mantissa. At 224 pixels on a CPU ``fp32`` takes a tenth to a
    fifth less time: weights are laid out channels last, and 1 × 1 convolutions take the way that
    ``networks/resnet.py`` (Pointwise) explains.
    """
    nn.utils.convert_conv2d_weight_memory_format(network.eval(), torch.channels_last)
    for module in network.modules():
        if isinstance(module, nn.Conv2d) and module.kernel_size == (1, 1) and module.weight.device.type == "cpu":
            module.dilation = (2, 2)
    return Bfloat16(network) if precision == "bf16" else network
