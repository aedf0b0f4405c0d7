"""Φ: the dense 3D flow, regressed from the source volume and the coefficients of both faces, without depth."""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from jr2net.config import Flow3DConfig
from jr2net.networks.flow3d.blocks import Residual3d, zero_initialized
from jr2net.networks.flow3d.geometry import COEFFICIENTS, voxel_centres
from jr2net.networks.precision import in_float32
from jr2net.networks.resnet import group_norm


class AdaptiveConvolution(nn.Module):
    """A 3 × 3 × 3 convolution whose normalised output is scaled and shifted by a code (B, Z): AdaIN.

    Normalisation is per group of channels, since the coarsest volumes have few voxels.
    """

    def __init__(self, inputs: int, outputs: int, code: int, stride: int = 1) -> None:
        super().__init__()
        self.convolution = nn.Conv3d(inputs, outputs, 3, stride, 1, bias=False)
        self.norm = group_norm(outputs)
        self.scale_and_shift = nn.Linear(code, 2 * outputs)

    def forward(self, x: Tensor, code: Tensor) -> Tensor:
        scale, shift = self.scale_and_shift(code)[:, :, None, None, None].chunk(2, dim=1)
        return F.leaky_relu(torch.addcmul(shift, self.norm(self.convolution(x)), 1 + scale), 0.2)


class DenseFlow(nn.Module):
    """Volume (B, C, D, h, w) and coefficients (B, 57) of the faces that it shows and that it should show, to a flow.

    The flow (B, 3, D, h, w) is a backward offset, see ``geometry``. The last layer is initialised with zeros, and its
    output is neither normalised nor bounded.
    """

    def __init__(self, config: Flow3DConfig) -> None:
        super().__init__()
        widths, code = config.flow_widths, config.flow_code
        self.mapping = nn.Sequential(
            nn.Linear(2 * COEFFICIENTS, code), nn.LeakyReLU(0.2), nn.Linear(code, code), nn.LeakyReLU(0.2)
        )
        self.stem = AdaptiveConvolution(config.channels + 3, widths[0], code)
        self.down = nn.ModuleList(AdaptiveConvolution(a, b, code, stride=2) for a, b in pairwise(widths))
        self.bottom = nn.Sequential(*(Residual3d(widths[-1]) for _ in range(config.flow_blocks)))
        self.up = nn.ModuleList(AdaptiveConvolution(b, a, code) for a, b in reversed(list(pairwise(widths))))
        self.output = zero_initialized(nn.Conv3d(widths[0], 3, 3, 1, 1))

    def forward(self, volume: Tensor, shown: Tensor, wanted: Tensor) -> Tensor:
        code = self.mapping(torch.cat([shown, wanted - shown], dim=-1))
        position = voxel_centres((volume.shape[2], volume.shape[3], volume.shape[4]), volume.device)
        x = torch.cat([volume, position.to(volume.dtype).expand(len(volume), -1, -1, -1, -1)], dim=1)
        features = [self.stem(x, code)]
        for down in self.down:
            features.append(down(features[-1], code))
        x = self.bottom(features.pop())
        for up in self.up:
            skip = features.pop()
            x = skip + F.interpolate(up(x, code), size=skip.shape[-3:], mode="nearest")
        with in_float32(x):
            return self.output(x.float())
