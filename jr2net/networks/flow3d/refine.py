"""Refinement: the foreground's final colours and opacity, by a U-Net with a transformer at its bottom."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from jr2net.config import Flow3DConfig
from jr2net.networks.flow3d.blocks import Transformer, UNet, clamp, opacity
from jr2net.networks.flow3d.warping import Tensors, Warped
from jr2net.render.conditions import CHANNELS, Conditions

# Scale of the predicted corrections. It keeps the first optimiser steps from destroying the initial output.
_CORRECTION = 1 / 8

# Initial logit of the warped texture's share against the decoded features.
_TEXTURE = 2.0

# Colours are divided by at least this opacity.
_OPACITY = 1 / 16

SHADING = ("normal", "light", "mask")
"""Maps of the driving rendering (``Conditions``) that the refinement sees."""

SHADING_WITH_FACE = (*SHADING, "covisible", "rendered")
"""The same with ``prior: mesh``."""


@dataclass(frozen=True)
class Foreground(Tensors):
    """The person in the driving view.

    colour  (B, 3, S, S)  in [0, 1], not premultiplied
    matte   (B, 1, S, S)  in [0, 1]; 0 and 1 are reached exactly
    """

    colour: Tensor
    matte: Tensor

    @property
    def image(self) -> Tensor:
        """(B, 3, S, S): the colour premultiplied by the matte, as in front of black."""
        return self.matte * self.colour


class Refine(nn.Module):
    """Blends the warped texture with what the features decode to, and corrects colour and opacity.

    The U-Net sees both, the source foreground, the projected features (at 1/4 of the side), and the driving
    rendering's normals, irradiance and mask, so that it can relight. It is 0 at initialisation: the output is then the
    blend of the two. With ``prior: mesh``, the face is the texture, and where the source hides
    it, or shows background there, the rendered face.
    """

    def __init__(self, config: Flow3DConfig) -> None:
        super().__init__()
        widths = config.refine_widths
        bottom = Transformer(widths[-1], config.refine_blocks, config.refine_heads)
        self.shortcut = config.shortcut
        self.maps = SHADING_WITH_FACE if config.prior == "mesh" else SHADING
        inputs = 3 * 4 + sum(CHANNELS[name] for name in self.maps)
        self.network = UNet(inputs, 3 + 1 + 1, widths, bottom, depth=2, joined=config.projection_width)

    def forward(self, warped: Warped, source: Tensor, conditions: Conditions) -> Foreground:
        """source (B, 4, S, S): the source foreground."""
        texture = warped.texture if self.shortcut else warped.decoded
        mask = conditions.mask.to(texture)
        if self.shortcut and "rendered" in self.maps:
            face = torch.cat([conditions.rendered, torch.ones_like(conditions.mask)], dim=1)
            shown = conditions.covisible.to(mask) * texture[:, 3:]
            texture = torch.lerp(texture, face.to(texture), mask * (1 - shown))
        x = torch.cat([texture, warped.decoded, source, conditions.stack(self.maps)], dim=1)
        predicted = self.network(x, warped.projected.features)
        weight = torch.sigmoid(predicted[:, 4:] + _TEXTURE)
        if self.shortcut and "rendered" in self.maps:
            weight = torch.maximum(weight, mask)
        blend = warped.decoded + weight * (texture - warped.decoded)
        premultiplied, matte = blend[:, :3], blend[:, 3:]
        colour = premultiplied / matte.clamp(min=_OPACITY)
        return Foreground(
            clamp(colour + _CORRECTION * predicted[:, :3]), opacity(matte + _CORRECTION * predicted[:, 3:4])
        )
