"""Building blocks of flow3d's networks: convolutions, residual blocks, the 2D U-Net, and output activations."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from jr2net.networks.resnet import group_norm

_SLACK = 1 / 32
"""Opacities below it become exactly 0, those above 1 - it exactly 1."""


def convolution(inputs: int, outputs: int, stride: int = 1, dilation: int = 1) -> nn.Sequential:
    """A 3 × 3 convolution, group normalisation and activation; ``stride`` 2 halves the side (rounded up).

    The convolution has no bias, since normalisation removes it where a group is one channel.
    """
    layer = nn.Conv2d(inputs, outputs, 3, stride, dilation, dilation, bias=False)
    return nn.Sequential(layer, group_norm(outputs), nn.LeakyReLU(0.2))


def zero_initialized(layer: nn.Module) -> nn.Module:
    """The layer with weights and bias set to 0."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer


class Residual3d(nn.Module):
    """Two 3 × 3 × 3 convolutions with a shortcut, pre-activated; (B, C, D, h, w) to the same shape."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = group_norm(channels), group_norm(channels)
        self.convolution1 = nn.Conv3d(channels, channels, 3, 1, 1, bias=False)
        self.convolution2 = nn.Conv3d(channels, channels, 3, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.convolution1(F.leaky_relu(self.norm1(x), 0.2))
        return x + self.convolution2(F.leaky_relu(self.norm2(y), 0.2))


class Dilated(nn.Module):
    """Residual 3 × 3 convolutions with dilations 1, 2, 4 and 8."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(convolution(channels, channels, dilation=d) for d in (1, 2, 4, 8))

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = x + layer(x)
        return x


class UNet(nn.Module):
    """(B, ``inputs``, S, S) to (B, ``outputs``, S, S), which is 0 at initialisation.

    widths   channels at 1, 1/2, 1/4, … of the side
    bottom   module between encoder and decoder, which keeps the shape
    depth    convolutions per scale of the encoder
    joined   channels of a second input at 1/4 of the side, or 0
    """

    def __init__(
        self, inputs: int, outputs: int, widths: Sequence[int], bottom: nn.Module, depth: int = 1, joined: int = 0
    ) -> None:
        super().__init__()
        self.stem = convolution(inputs, widths[0])
        self.down = nn.ModuleList(
            nn.Sequential(convolution(a, b, stride=2), *(convolution(b, b) for _ in range(depth - 1)))
            for a, b in pairwise(widths)
        )
        self.join = nn.Conv2d(widths[2] + joined, widths[2], 1) if joined else None
        self.bottom = bottom
        self.up = nn.ModuleList(convolution(b + a, a) for a, b in reversed(list(pairwise(widths))))
        self.output = zero_initialized(nn.Conv2d(widths[0], outputs, 3, 1, 1))

    def forward(self, x: Tensor, joined: Tensor | None = None) -> Tensor:
        features = [self.stem(x)]
        for scale, down in enumerate(self.down, start=1):
            x = down(features[-1])
            if scale == 2 and self.join is not None and joined is not None:
                x = self.join(torch.cat([x, joined], dim=1))
            features.append(x)
        x = self.bottom(features.pop())
        for up in self.up:
            skip = features.pop()
            x = up(torch.cat([F.interpolate(x, size=skip.shape[-2:], mode="nearest"), skip], dim=1))
        return self.output(x)


class Transformer(nn.Module):
    """Transformer blocks over the positions of a map (B, C, h, w), which may have any size.

    Pre-normalised, with hidden layers twice as wide as the map (a fixed sine and cosine encoding of the positions is
    added once).
    """

    def __init__(self, channels: int, blocks: int, heads: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(_TransformerBlock(channels, heads) for _ in range(blocks))

    def forward(self, x: Tensor) -> Tensor:
        tokens = (x + position_encoding(x)).flatten(2).transpose(1, 2)
        for block in self.blocks:
            tokens = block(tokens)
        return tokens.transpose(1, 2).unflatten(2, x.shape[-2:])


class _TransformerBlock(nn.Module):
    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(channels), nn.LayerNorm(channels)
        self.attention = nn.Linear(channels, 3 * channels)
        self.merge = nn.Linear(channels, channels)
        self.hidden = nn.Sequential(nn.Linear(channels, 2 * channels), nn.GELU(), nn.Linear(2 * channels, channels))

    def forward(self, tokens: Tensor) -> Tensor:
        parts = self.attention(self.norm1(tokens)).unflatten(-1, (3, self.heads, -1))  # (B, N, 3, heads, C / heads)
        query, key, value = parts.permute(2, 0, 3, 1, 4).unbind(0)
        attended = F.scaled_dot_product_attention(query, key, value)
        tokens = tokens + self.merge(attended.transpose(1, 2).flatten(2))
        return tokens + self.hidden(self.norm2(tokens))


def position_encoding(like: Tensor) -> Tensor:
    """(1, C, h, w): sines and cosines of x and of y in [-1, 1], with C / 4 frequencies from π / 2 to 16 π."""
    channels, height, width = like.shape[1:]
    frequency = (math.pi / 2) * 32 ** torch.linspace(0, 1, channels // 4, device=like.device)
    x, y = (frequency[:, None] * centres(side, like.device) for side in (width, height))
    rows = torch.cat([y.sin(), y.cos()])[:, :, None].expand(-1, -1, width)
    columns = torch.cat([x.sin(), x.cos()])[:, None].expand(-1, height, -1)
    return torch.cat([rows, columns])[None].to(like.dtype)


def centres(count: int, device: torch.device) -> Tensor:
    """(count,): centres of equal cells that tile [-1, 1], the positions of ``align_corners=False``."""
    return (2 * torch.arange(count, device=device) + 1) / count - 1


def clamp(x: Tensor) -> Tensor:
    """Clamps to [0, 1] with a straight-through gradient, so that clamped pixels still learn."""
    return x + (x.clamp(0, 1) - x).detach()


def opacity(x: Tensor) -> Tensor:
    """Stretches and clamps to [0, 1], so that background and foreground become exactly 0 and 1."""
    return clamp((x - _SLACK) / (1 - 2 * _SLACK))
