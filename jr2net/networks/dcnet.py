"""DCNet: the 3D-aware conditional generator of Figure 3. It redraws a source picture as a driving rendering asks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from jr2net.config import DCNetConfig
from jr2net.networks.conditions import CONDITION_CHANNELS, Conditions
from jr2net.networks.encoders import ContextEncoder, TextureEncoder
from jr2net.networks.modulation import ConditionEncoder, ModulatedBlock
from jr2net.render.view_synthesis import warp

__all__ = ["CONDITION_CHANNELS", "Conditions", "DCNet"]

_ARCHITECTURE = ("width", "scales", "context_scales", "blocks")

# Blending weights at the start, as logits beside the copied source's 0: inside the driving face's mask the generator
# has 9 parts in 10, outside of it a sixth.
_START_INSIDE = 3.0
_START_OUTSIDE = -1.0


class DCNet(nn.Module):
    """Source picture, source rendering and driving conditions to the picture they ask for.

    The picture is a blend, by three softmax weights for each pixel, of

    - a *generated* picture: the warped source where the driving view sees what the source showed, elsewhere the source
      moved with the head, plus a correction without bounds. It relights and sharpens, and invents mouths and lids;
    - the *copied source*: backgrounds that stand still stay as sharp as they were;
    - the source *moved with the head*: hair, ears and neck follow it.

    The paper's generator draws all of it. A small network cannot carry a background through a bottleneck that it could
    simply copy, so this one may copy. Its last layer starts at zero: the first answer is the warped source inside the
    face and a mean of the trivial pictures around it.
    """

    kind = "dcnet"

    def __init__(self, config: DCNetConfig) -> None:
        super().__init__()
        self.config = config
        widths = channels_at_scales(config.width, config.scales)
        self.texture = TextureEncoder(widths)
        self.context = ContextEncoder(config.width, config.scales, config.context_scales)
        # Every scale's generator sees the conditions and the copied source, at that scale's resolution.
        self.conditions = nn.ModuleList(ConditionEncoder(CONDITION_CHANNELS + 3, config.width) for _ in widths)
        self.join = nn.Conv2d(widths[-1] + self.context.channels, widths[-1], 1)
        self.blocks = nn.ModuleList(ModulatedBlock(widths[-1], config.width) for _ in range(config.blocks))
        # From coarse to fine: what comes up from the scale below beside the warped texture of this one.
        self.up = nn.ModuleList(nn.Conv2d(widths[i + 1], widths[i], 3, 1, 1) for i in reversed(range(config.scales)))
        self.skip = nn.ModuleList(nn.Conv2d(widths[i], widths[i], 1) for i in reversed(range(1, config.scales)))
        self.fine = nn.ModuleList(ModulatedBlock(widths[i], config.width) for i in reversed(range(config.scales)))
        self.output = nn.Conv2d(config.width, 3 + 3, 3, 1, 1)
        for parameter in self.output.parameters():
            nn.init.zeros_(parameter)

    @property
    def architecture(self) -> dict[str, Any]:
        return {name: getattr(self.config, name) for name in _ARCHITECTURE}

    @classmethod
    def from_architecture(cls, architecture: Mapping[str, Any]) -> DCNet:
        values = {name: architecture[name] for name in _ARCHITECTURE}
        optimizer = {"steps": 1, "batch_size": 1, "learning_rate": 1.0}
        return cls(DCNetConfig.model_validate(values | {"optimizer": optimizer}))

    def forward(
        self,
        source_image: Tensor,
        source_light: Tensor,
        source_normal: Tensor,
        source_mask: Tensor,
        conditions: Conditions,
        position: Tensor,
    ) -> Tensor:
        """Pictures (B, 3, S, S) in [0, 1].

        source_image (B, 3, S, S) in [0, 1]; source_light, source_normal (B, 3, S, S) and source_mask (B, 1, S, S) of
        the source's rendering; position (B, S, S, 2): where each driving pixel lies in the source, in pixels.
        """
        texture = self.texture(source_image, source_light, source_normal, source_mask)
        side = source_image.shape[-1]
        texture = [warp(x, coarsen(position, x.shape[-2:], side), side) for x in texture]
        modulation = torch.cat([conditions.stack(), source_image], dim=1)

        x = torch.cat([texture[-1], self.context(source_image, texture[-1].shape[-2:])], dim=1)
        x = self.join(x)
        encoded = self.conditions[-1](modulation, x.shape[-2:])
        for block in self.blocks:
            x = block(x, encoded)
        for index, (up, fine) in enumerate(zip(self.up, self.fine, strict=True)):
            scale = self.config.scales - 1 - index
            size = texture[scale - 1].shape[-2:] if scale > 0 else source_image.shape[-2:]
            x = F.interpolate(up(x), size=size, mode="nearest")
            if scale > 0:
                x = x + self.skip[index](texture[scale - 1])
            x = fine(x, self.conditions[scale](modulation, size))
        correction, logits = self.output(F.leaky_relu(x, 0.2)).split(3, dim=1)
        return blend(correction, logits, source_image, conditions)


def channels_at_scales(width: int, scales: int) -> list[int]:
    """Channels at 1, 1/2, 1/4, … of the picture's side: doubling twice, then constant."""
    return [width * min(2**scale, 4) for scale in range(scales + 1)]


def coarsen(position: Tensor, size: tuple[int, int], side: int) -> Tensor:
    """Positions (B, S, S, 2) in a picture of ``side`` at a lower resolution: (B, *size, 2).

    Each is the mean of those that lie in the picture, and outside of it where fewer than half do.
    """
    inside = ((position > 0) & (position < side)).all(-1, keepdim=True).permute(0, 3, 1, 2).to(position.dtype)
    mean = F.adaptive_avg_pool2d(position.permute(0, 3, 1, 2) * inside, size)
    share = F.adaptive_avg_pool2d(inside, size)
    coarse = torch.where(share >= 0.5, mean / share.clamp(min=0.5), -float(side))
    return coarse.permute(0, 2, 3, 1)


def blend(correction: Tensor, logits: Tensor, source_image: Tensor, conditions: Conditions) -> Tensor:
    """The three candidates by their weights; see DCNet. correction, logits (B, 3, S, S) -> (B, 3, S, S) in [0, 1]."""
    start = torch.lerp(conditions.head_warped, conditions.warped_image, conditions.covisible)
    generated = _clamp(start + correction)
    preference = _START_OUTSIDE + (_START_INSIDE - _START_OUTSIDE) * conditions.mask
    logits = logits + F.pad(preference, (0, 0, 0, 0, 0, 2))
    weights = logits.softmax(dim=1)
    return weights[:, 0:1] * generated + weights[:, 1:2] * source_image + weights[:, 2:3] * conditions.head_warped


def _clamp(x: Tensor) -> Tensor:
    """To [0, 1], with the gradient of the identity: a pixel that overshot still learns."""
    return x + (x.clamp(0, 1) - x).detach()
