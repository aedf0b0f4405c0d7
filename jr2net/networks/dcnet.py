"""DCNet: the 3D-aware conditional generator of Figure 3. It reenacts a source image as a driving face.

There are two generators, ``warp`` (``dcnet_warp.py``) and ``paper`` (``dcnet_paper.py``), which share this file.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from jr2net.config import DCNetConfig
from jr2net.render.conditions import CHANNELS
from jr2net.render.scene import Generated, Scene
from jr2net.render.view_synthesis import warp

_SIZES = ("width", "scales", "context_scales", "blocks")

# Settings that checkpoints name only where they differ from these: checkpoints without them are of this network.
_VARIANT = {"generator": "warp", "conditions": "dense", "warped_image": True}


class DCNet(nn.Module):
    """Generates the image of a ``Scene``: the source image reenacted with the driving face.

    ``DCNet(config)`` is a ``WarpDCNet`` or a ``PaperDCNet``, as ``config.generator`` says.
    """

    kind = "dcnet"
    title = "DCNet"

    def __new__(cls, config: DCNetConfig | None = None) -> DCNet:
        from jr2net.networks.dcnet_paper import PaperDCNet  # both import this file
        from jr2net.networks.dcnet_warp import WarpDCNet

        if cls is DCNet and config is not None:
            cls = PaperDCNet if config.generator == "paper" else WarpDCNet
        return super().__new__(cls)

    def __init__(self, config: DCNetConfig) -> None:
        super().__init__()
        self.config = config
        self.condition_names = condition_names(config)

    @property
    def architecture(self) -> dict[str, Any]:
        variant = {name: getattr(self.config, name) for name in _VARIANT}
        return {name: getattr(self.config, name) for name in _SIZES} | {
            name: value for name, value in variant.items() if value != _VARIANT[name]
        }

    @classmethod
    def from_architecture(cls, architecture: Mapping[str, Any]) -> DCNet:
        values = {name: architecture[name] for name in _SIZES}
        values |= {name: architecture.get(name, default) for name, default in _VARIANT.items()}
        optimizer = {"steps": 1, "batch_size": 1, "learning_rate": 1.0}
        return cls(DCNetConfig.model_validate(values | {"optimizer": optimizer}))

    def forward(self, scene: Scene, code: None = None) -> Generated:
        """Scene of B (source, driving) pairs to generated images (B, 3, S, S) in [0, 1]; ``kept`` is 0."""
        raise NotImplementedError

    def encode(self, source_image: Tensor) -> None:
        """Nothing: the encoders of the source take a seventh of the time, and need its rendering."""


def condition_names(config: DCNetConfig) -> tuple[str, ...]:
    """The fields of ``Conditions`` that modulate the generator, and that the discriminator sees, in their order.

    The paper's conditional input is normals, light, co-visible mask and warped source image, ten channels. The
    generator ``warp`` also uses the mask of the face, the source image moved with the head and the rendered face.
    """
    left_out = set()
    if config.generator == "paper":
        left_out |= {"mask", "head_warped"}
        if config.conditions != "rendered":
            left_out |= {"rendered"}
    if config.conditions == "rendered":
        left_out |= {"normal", "light"} if config.warped_image else {"normal", "light", "covisible"}
    if config.conditions == "no_light":
        left_out |= {"light", "rendered"}
    if not config.warped_image:
        left_out |= {"warped_image", "head_warped"}
    return tuple(name for name in CHANNELS if name not in left_out)


def channels_at_scales(width: int, scales: int) -> list[int]:
    """Channels at 1, 1/2, 1/4, … of the image side: doubled twice, then constant."""
    return [width * min(2**scale, 4) for scale in range(scales + 1)]


def warp_features(features: Tensor, position: Tensor, side: int) -> Tensor:
    """Warps features (B, C, h, w) of an image of ``side`` by Eq. 2; zero off the driving face.

    position (B, S, S, 2): source position of each driving pixel, outside of the image off the face.
    """
    height, width = features.shape[-2:]
    return warp(features, downsample_positions(position, (height, width), side), side)


def downsample_positions(position: Tensor, size: tuple[int, int], side: int) -> Tensor:
    """Positions (B, S, S, 2) in an image of ``side`` at a lower resolution: (B, *size, 2).

    The mean of the positions inside of the image; outside of the image if fewer than half are inside.
    """
    inside = ((position > 0) & (position < side)).all(-1, keepdim=True).permute(0, 3, 1, 2).to(position.dtype)
    mean = F.adaptive_avg_pool2d(position.permute(0, 3, 1, 2) * inside, size)
    fraction = F.adaptive_avg_pool2d(inside, size)
    coarse = torch.where(fraction >= 0.5, mean / fraction.clamp(min=0.5), -float(side))
    return coarse.permute(0, 2, 3, 1)


def normalize(x: Tensor) -> Tensor:
    """Group normalisation and activation before the output layers, since residual blocks have no fixed output scale."""
    return F.leaky_relu(F.group_norm(x, math.gcd(x.shape[1], 8)), 0.2)
