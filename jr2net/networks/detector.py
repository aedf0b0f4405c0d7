"""The face detector's network: from a picture to the 68 landmarks of the faces in it, cell by cell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from jr2net.face.landmarks import LANDMARKS

STRIDE = 8
"""Pixels between the cells of the output."""

_HEAD = 64
_FEW = -4.0  # logit at the start: faces are rare


class Detector(nn.Module):
    """A single-shot detector without anchors: every cell says whether a face's centre is near, and where its landmarks
    are.

    side: of the pictures that it is trained with, a multiple of 32. widths: channels at 1/2, 1/4, … 1/32 of it.
    """

    kind = "detector"

    def __init__(self, side: int, widths: Sequence[int]) -> None:
        super().__init__()
        self.side, self.widths = side, tuple(widths)
        self.down = nn.ModuleList(
            nn.Sequential(_convolution(before, width, 2), *_blocks(width, scale))
            for scale, (before, width) in enumerate(pairwise((3, *self.widths)))
        )
        self.across = nn.ModuleList(nn.Conv2d(width, _HEAD, 1) for width in self.widths[2:])
        self.head = _convolution(_HEAD, _HEAD)
        self.answer = nn.Conv2d(_HEAD, 2 + 2 * LANDMARKS, 1)
        nn.init.normal_(self.answer.weight, std=0.01)
        start = torch.zeros(2 + 2 * LANDMARKS)
        start[0] = _FEW
        self.answer.bias = nn.Parameter(start)

    @property
    def architecture(self) -> dict[str, Any]:
        return {"side": self.side, "widths": list(self.widths)}

    @classmethod
    def from_architecture(cls, architecture: Mapping[str, Any]) -> Detector:
        return cls(architecture["side"], architecture["widths"])

    def fused(self) -> Detector:
        """A copy for inference, its normalisations folded into the convolutions before them."""
        network = deepcopy(self).eval()
        for module in list(network.modules()):
            for name, child in list(module.named_children()):
                following = getattr(module, str(int(name) + 1), None) if name.isdigit() else None
                if isinstance(child, nn.Conv2d) and isinstance(following, nn.BatchNorm2d):
                    setattr(module, name, fuse_conv_bn_eval(child, following))
                    setattr(module, str(int(name) + 1), nn.Identity())
        return network

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 3, S, S) in [0, 1] -> the logit of a face at each cell (B, G, G), G = S / 8, and the landmarks of that
        face (B, G, G, 68, 2) in pixels."""
        x, features = 2 * image - 1, []
        for down in self.down:
            x = down(x)
            features.append(x)
        coarse = self.across[-1](features[-1])
        for across, feature in zip(reversed(self.across[:-1]), reversed(features[2:-1])):
            coarse = across(feature) + F.interpolate(coarse, scale_factor=2.0, mode="nearest")
        answer = self.answer(self.head(coarse)).float().permute(0, 2, 3, 1)
        offsets = answer[..., 2:].unflatten(-1, (LANDMARKS, 2)) * answer[..., 1, None, None].clamp(-3, 4).exp()
        return answer[..., 0], cell_centres(image.shape[-1], image.device)[:, :, None] + STRIDE * offsets


def cell_centres(side: int, device: torch.device | str = "cpu") -> Tensor:
    """Centres (G, G, 2) of the cells of a picture, in pixels."""
    centre = STRIDE * (torch.arange(side // STRIDE, device=device) + 0.5)
    return torch.stack(torch.meshgrid(centre, centre, indexing="xy"), -1)


class _Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.inner = nn.Sequential(
            _convolution(width, width), nn.Conv2d(width, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width)
        )

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.inner(x))


def _blocks(width: int, scale: int) -> list[nn.Module]:
    """The residual blocks at one scale: none at the finest, two where faces are found."""
    return [_Residual(width) for _ in range((0, 1, 2, 1, 1)[scale])]


def _convolution(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)
    )
