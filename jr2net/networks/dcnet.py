"""DCNet: the 3D-aware conditional generator of Figure 3. It redraws a source picture as a driving rendering asks."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from jr2net.config import DCNetConfig
from jr2net.networks.encoders import ContextEncoder, TextureEncoder
from jr2net.networks.modulation import ConditionEncoder, ModulatedBlock
from jr2net.networks.motion import extend_motion, sample
from jr2net.render.conditions import CONDITION_CHANNELS
from jr2net.render.scene import Scene
from jr2net.render.view_synthesis import warp

_ARCHITECTURE = ("width", "scales", "context_scales", "blocks")

# The part of the head's motion that pixels beside the face follow before training, in logits: at the face's edge, and
# about an eighth of the picture away.
_FOLLOW_NEAR, _FOLLOW_FAR = 3.0, -3.0

# Predictions are bounded, softly, to this many units: one that runs away would have no gradient to come back on.
_BOUND = 6.0

# One unit of the predicted displacement (a part of the picture's side) and of the correction (a part of the range of
# colours). The first answer is good; one optimiser step, which adds up over hundreds of inputs, must not throw it over.
_DISPLACEMENT = 1 / 128
_CORRECTION = 1 / 8


class DCNet(nn.Module):
    """Source picture, source rendering and driving conditions to the picture they ask for.

    The paper's generator draws all of the picture. A small network cannot carry a background through a bottleneck that
    it could simply keep, so this one moves the source and repaints it:

    - every pixel reads the source where the face's motion (Eq. 2, continued around the face) took it from. Beside the
      face it follows that motion by a predicted part, since hair goes with the head, shoulders go half the way and
      backgrounds stand still; everywhere a predicted displacement of some pixels is added;
    - on the face, what the source did not show (a mouth's inside, a closed lid) is read from the model's rendering;
    - a correction without bounds is added to what was read. It relights and sharpens, and invents mouths and lids.

    The layers that predict these start at zero: the first answer is the warped source on the face and, away from it,
    the copied source.
    """

    kind = "dcnet"

    def __init__(self, config: DCNetConfig) -> None:
        super().__init__()
        self.config = config
        widths = channels_at_scales(config.width, config.scales)
        self.texture = TextureEncoder(widths)
        self.context = ContextEncoder(config.width, config.scales, config.context_scales)
        # Every scale's generator sees the conditions and the copied source at that scale's resolution, the finest also
        # the moved source.
        self.conditions = nn.ModuleList(
            ConditionEncoder(CONDITION_CHANNELS + (3 if scale > 0 else 6), config.width) for scale in range(len(widths))
        )
        self.join = nn.Conv2d(widths[-1] + self.context.channels, widths[-1], 1)
        self.blocks = nn.ModuleList(ModulatedBlock(widths[-1], config.width) for _ in range(config.blocks))
        # From coarse to fine: what comes up from the scale below beside the warped texture of this one.
        self.up = nn.ModuleList(nn.Conv2d(widths[i + 1], widths[i], 3, 1, 1) for i in reversed(range(config.scales)))
        self.skip = nn.ModuleList(nn.Conv2d(widths[i], widths[i], 1) for i in reversed(range(1, config.scales)))
        self.fine = nn.ModuleList(ModulatedBlock(widths[i], config.width) for i in reversed(range(config.scales)))
        self.motion = _zero_convolution(widths[1], 1 + 2)
        self.output = _zero_convolution(config.width, 3)

    @property
    def architecture(self) -> dict[str, Any]:
        return {name: getattr(self.config, name) for name in _ARCHITECTURE}

    @classmethod
    def from_architecture(cls, architecture: Mapping[str, Any]) -> DCNet:
        values = {name: architecture[name] for name in _ARCHITECTURE}
        optimizer = {"steps": 1, "batch_size": 1, "learning_rate": 1.0}
        return cls(DCNetConfig.model_validate(values | {"optimizer": optimizer}))

    def forward(self, scene: Scene) -> Tensor:
        """A scene of B (source, driving) pairs to images (B, 3, S, S) in [0, 1]."""
        source_image, source, conditions, position = (
            scene.source_image,
            scene.source,
            scene.conditions,
            scene.view.position,
        )
        side = source_image.shape[-1]
        texture = self.texture(source_image, source.light, source.normal, source.mask)
        texture = [warp(x, coarsen(position, x.shape[-2:], side), side) for x in texture]
        modulation = torch.cat([conditions.stack(), source_image], dim=1)

        x = self.join(torch.cat([texture[-1], self.context(source_image, texture[-1].shape[-2:])], dim=1))
        encoded = self.conditions[-1](modulation, x.shape[-2:])
        for block in self.blocks:
            x = block(x, encoded)
        for index in range(self.config.scales - 1):
            scale = self.config.scales - 1 - index
            skip = self.skip[index](texture[scale - 1])
            x = skip + F.interpolate(self.up[index](x), size=skip.shape[-2:], mode="nearest")
            x = self.fine[index](x, self.conditions[scale](modulation, x.shape[-2:]))

        moved = self.move(x, source_image, conditions.mask, position)
        moved = torch.lerp(moved, conditions.rendered, conditions.mask * (1 - conditions.covisible))
        x = F.interpolate(self.up[-1](x), size=side, mode="nearest")
        x = self.fine[-1](x, self.conditions[0](torch.cat([modulation, moved], dim=1), x.shape[-2:]))
        return _clamp(moved + _CORRECTION * self.output(_normalize(x)))

    def move(self, features: Tensor, source_image: Tensor, mask: Tensor, position: Tensor) -> Tensor:
        """The source picture (B, 3, S, S) moved as ``features`` (B, C, S / 2, S / 2) say."""
        side = source_image.shape[-1]
        predicted = _BOUND * torch.tanh(self.motion(_normalize(features)) / _BOUND)
        predicted = F.interpolate(predicted, size=side, mode="bilinear", align_corners=False)
        near = 2 * share_around(mask, side // 8)
        follow = torch.sigmoid(predicted[:, :1] + _FOLLOW_FAR + (_FOLLOW_NEAR - _FOLLOW_FAR) * near)
        follow = torch.where(mask > 0, 1.0, follow)
        return sample(source_image, follow * extend_motion(position, side) + _DISPLACEMENT * side * predicted[:, 1:])


def channels_at_scales(width: int, scales: int) -> list[int]:
    """Channels at 1, 1/2, 1/4, … of the picture's side: doubling twice, then constant."""
    return [width * min(2**scale, 4) for scale in range(scales + 1)]


def share_around(mask: Tensor, reach: int) -> Tensor:
    """(B, 1, S, S): which share of the square of 2 · ``reach`` + 1 pixels around each pixel a mask of 0 and 1 covers.

    Rows are counted first and then columns: the counts are whole numbers, so nothing is rounded before the division.
    """
    side = 2 * reach + 1
    if torch.compiler.is_exporting():  # ONNX has no divisor_override
        return F.avg_pool2d(mask, side, stride=1, padding=reach)
    rows = F.avg_pool2d(mask, (1, side), stride=1, padding=(0, reach), divisor_override=1)
    return F.avg_pool2d(rows, (side, 1), stride=1, padding=(reach, 0), divisor_override=1) / side**2


def coarsen(position: Tensor, size: tuple[int, int], side: int) -> Tensor:
    """Positions (B, S, S, 2) in a picture of ``side`` at a lower resolution: (B, *size, 2).

    Each is the mean of those that lie in the picture, and outside of it where fewer than half do.
    """
    inside = ((position > 0) & (position < side)).all(-1, keepdim=True).permute(0, 3, 1, 2).to(position.dtype)
    mean = F.adaptive_avg_pool2d(position.permute(0, 3, 1, 2) * inside, size)
    share = F.adaptive_avg_pool2d(inside, size)
    coarse = torch.where(share >= 0.5, mean / share.clamp(min=0.5), -float(side))
    return coarse.permute(0, 2, 3, 1)


def _zero_convolution(inputs: int, outputs: int) -> nn.Conv2d:
    convolution = nn.Conv2d(inputs, outputs, 3, 1, 1)
    for parameter in convolution.parameters():
        nn.init.zeros_(parameter)
    return convolution


def _normalize(x: Tensor) -> Tensor:
    """Zero mean and unit deviation for the layers that end in pixels, whatever the residual blocks added up to."""
    return F.leaky_relu(F.group_norm(x, math.gcd(x.shape[1], 8)), 0.2)


def _clamp(x: Tensor) -> Tensor:
    """To [0, 1], with the gradient of the identity: a pixel that overshot still learns."""
    return x + (x.clamp(0, 1) - x).detach()
