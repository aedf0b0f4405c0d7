"""The generator ``warp`` of DCNet: warps the source image along a predicted motion and corrects it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from jr2net.config import DCNetConfig
from jr2net.networks.dcnet import DCNet, channels_at_scales, normalize, warp_features
from jr2net.networks.encoders import ContextEncoder, TextureEncoder
from jr2net.networks.modulation import ConditionEncoder, ModulatedBlock
from jr2net.networks.motion import extend_motion, pixel_centres, sample
from jr2net.render.conditions import CHANNELS
from jr2net.render.scene import Generated, Scene

# Initial logits of the fraction of the head's motion that pixels off the face follow: at the edge of the face, and
# at a distance of about an eighth of the image.
_FOLLOW_NEAR, _FOLLOW_FAR = 3.0, -3.0

# Soft bound (tanh) of the predicted motion, so that its sigmoid does not saturate.
_BOUND = 6.0

# Scales of the predicted displacement (fraction of the image side) and correction (fraction of the colour range). They
# keep the first optimiser steps, which sum over hundreds of inputs, from destroying the initial output.
_DISPLACEMENT = 1 / 128
_CORRECTION = 1 / 8


class WarpDCNet(DCNet):
    """Warps the source image and corrects it.

    The paper's generator synthesises the whole image. A small network cannot pass the background through its
    bottleneck, so this one starts from the source image:

    - each pixel samples the source image along the motion of the face (Eq. 2, extrapolated around the face). Off the
      face a predicted fraction of that motion is used, since hair moves with the head, shoulders move half as far and
      backgrounds do not move; a predicted displacement of some pixels is added everywhere;
    - pixels of the face that are hidden in the source (inside of the mouth, closed lids) start from the rendering,
      unless ``conditions`` is no_light, since the rendering is lit;
    - an unbounded correction is added. It relights, sharpens and synthesises mouths and lids.

    The layers that predict these are zero-initialised: the initial output is the warped source on the face and the
    copied source far from it.
    """

    def __init__(self, config: DCNetConfig) -> None:
        super().__init__(config)
        widths = channels_at_scales(config.width, config.scales)
        self.texture = TextureEncoder(widths)
        self.context = ContextEncoder(config.width, config.scales, config.context_scales)
        # Every scale of the generator is modulated by the conditions and the source image, resized to its resolution;
        # the finest also by the warped source.
        conditions = sum(CHANNELS[name] for name in self.condition_names)
        self.conditions = nn.ModuleList(
            ConditionEncoder(conditions + (6 if scale == 0 and config.warped_image else 3), config.width)
            for scale in range(len(widths))
        )
        self.join = nn.Conv2d(widths[-1] + self.context.channels, widths[-1], 1)
        self.blocks = nn.ModuleList(ModulatedBlock(widths[-1], config.width) for _ in range(config.blocks))
        # From coarse to fine: up-sampled features of the coarser scale plus the warped texture of this one.
        self.up = nn.ModuleList(nn.Conv2d(widths[i + 1], widths[i], 3, 1, 1) for i in reversed(range(config.scales)))
        self.skip = nn.ModuleList(nn.Conv2d(widths[i], widths[i], 1) for i in reversed(range(1, config.scales)))
        self.fine = nn.ModuleList(ModulatedBlock(widths[i], config.width) for i in reversed(range(config.scales)))
        self.motion = _zero_convolution(widths[1], 1 + 2)
        self.output = _zero_convolution(config.width, 3)

    def forward(self, scene: Scene, code: None = None) -> Generated:
        """Scene of B (source, driving) pairs to generated images (B, 3, S, S) in [0, 1]."""
        source_image, source, conditions, position = (
            scene.source_image,
            scene.source,
            scene.conditions,
            scene.view.position,
        )
        side = source_image.shape[-1]
        texture = self.texture(source_image, source.light, source.normal, source.mask)
        texture = [warp_features(x, position, side) for x in texture]
        modulation = torch.cat([conditions.stack(self.condition_names), source_image], dim=1)

        x = self.join(torch.cat([texture[-1], self.context(source_image, texture[-1].shape[-2:])], dim=1))
        encoded = self.conditions[-1](modulation, x.shape[-2:])
        for block in self.blocks:
            x = block(x, encoded)
        for index in range(self.config.scales - 1):
            scale = self.config.scales - 1 - index
            skip = self.skip[index](texture[scale - 1])
            x = skip + F.interpolate(self.up[index](x), size=skip.shape[-2:], mode="nearest")
            x = self.fine[index](x, self.conditions[scale](modulation, x.shape[-2:]))

        displacement = self.source_motion(x, conditions.mask, position)
        warped = sample(source_image, displacement)
        if self.config.conditions != "no_light":
            warped = torch.lerp(warped, conditions.rendered, conditions.mask * (1 - conditions.covisible))
        if self.config.warped_image:
            modulation = torch.cat([modulation, warped], dim=1)
        x = F.interpolate(self.up[-1](x), size=side, mode="nearest")
        x = self.fine[-1](x, self.conditions[0](modulation, x.shape[-2:]))
        picture = _clamp(warped + _CORRECTION * self.output(normalize(x)))
        sampled = (pixel_centres(side, displacement) + displacement).permute(0, 2, 3, 1)
        return Generated(picture, torch.zeros_like(picture[:, :1]), sampled)

    def source_motion(self, features: Tensor, mask: Tensor, position: Tensor) -> Tensor:
        """Displacement (B, 2, S, S) from each pixel to its source pixel, predicted from ``features`` (B, C, S/2, S/2).

        mask (B, 1, S, S): of the driving face; position (B, S, S, 2): of its pixels in the source view
        """
        side = mask.shape[-1]
        predicted = _BOUND * torch.tanh(self.motion(normalize(features)) / _BOUND)
        predicted = F.interpolate(predicted, size=side, mode="bilinear", align_corners=False)
        near = 2 * local_fraction(mask, side // 8)
        follow = torch.sigmoid(predicted[:, :1] + _FOLLOW_FAR + (_FOLLOW_NEAR - _FOLLOW_FAR) * near)
        follow = torch.where(mask > 0, 1.0, follow)
        return follow * extend_motion(position, side) + _DISPLACEMENT * side * predicted[:, 1:]


def local_fraction(mask: Tensor, radius: int) -> Tensor:
    """(B, 1, S, S): fraction of a binary mask in the square of side 2 · ``radius`` + 1 around each pixel.

    Separable: rows are summed first, then columns. The sums are integers, so nothing is rounded before the division.
    """
    side = 2 * radius + 1
    if torch.compiler.is_exporting():  # ONNX has no divisor_override
        return F.avg_pool2d(mask, side, stride=1, padding=radius)
    rows = F.avg_pool2d(mask, (1, side), stride=1, padding=(0, radius), divisor_override=1)
    return F.avg_pool2d(rows, (side, 1), stride=1, padding=(radius, 0), divisor_override=1) / side**2


def _zero_convolution(inputs: int, outputs: int) -> nn.Conv2d:
    convolution = nn.Conv2d(inputs, outputs, 3, 1, 1)
    for parameter in convolution.parameters():
        nn.init.zeros_(parameter)
    return convolution


def _clamp(x: Tensor) -> Tensor:
    """Clamps to [0, 1] with a straight-through gradient, so that clamped pixels still learn."""
    return x + (x.clamp(0, 1) - x).detach()
