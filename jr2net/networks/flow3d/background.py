"""The networks that see the source image alone: inpainting of the background, and the matte head."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from jr2net.config import Flow3DConfig
from jr2net.networks.flow3d.blocks import Dilated, UNet, clamp, opacity
from jr2net.networks.motion import fill

# Scale of the predicted correction, see ``refine``.
_CORRECTION = 1 / 8


class Inpaint(nn.Module):
    """Fills the hole that the person leaves, by a dilated U-Net.

    It corrects a smooth fill by averages at coarser scales, which is the initial output.
    """

    def __init__(self, config: Flow3DConfig) -> None:
        super().__init__()
        widths = config.inpaint_widths
        self.network = UNet(3 + 1, 3, widths, Dilated(widths[-1]))

    def forward(self, image: Tensor, hole: Tensor) -> Tensor:
        """image (B, 3, S, S) in [0, 1]; hole (B, 1, S, S): 1 where it must not be used, else 0. (B, 3, S, S)."""
        smooth = fill(image, 1 - hole)
        return clamp(smooth + _CORRECTION * self.network(torch.cat([2 * smooth - 1, hole], dim=1)))


class MatteHead(nn.Module):
    """Source image (B, 3, S, S) in [0, 1] to its matte (B, 1, S, S) in [0, 1]; 0 and 1 are reached exactly."""

    def __init__(self, config: Flow3DConfig) -> None:
        super().__init__()
        widths = config.matte_widths
        self.network = UNet(3, 1, widths, Dilated(widths[-1]), depth=2)

    def forward(self, image: Tensor) -> Tensor:
        return opacity(torch.sigmoid(self.network(2 * image - 1)))
