"""The generator ``paper`` of DCNet: synthesises the whole image, as in the paper's text and Figure 3."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from jr2net.config import DCNetConfig
from jr2net.networks.dcnet import DCNet, channels_at_scales, normalize, warp_features
from jr2net.networks.encoders import ContextEncoder, TextureEncoder
from jr2net.networks.modulation import ConditionEncoder, ModulatedBlock
from jr2net.render.conditions import CHANNELS
from jr2net.render.scene import Generated, Scene

# The context encoder's coarsest map is about 7 x 7 at the paper's sizes: with these dilations every feature sees all
# of it.
_DILATIONS = (2, 4)


class PaperDCNet(DCNet):
    """Synthesises the whole image from encoded features; nothing is copied from the source image.

    - Texture encoder: source image, its light and its normals to features at 1 / 2^scales of the image side, warped to
      the driving face by Eq. 2; zero off the face.
    - Context encoder: source image to global features at the same resolution, concatenated with the warped texture.
    - Generator: up-samples them to the image. Every scale is modulated by the conditional input, resized to it:
      co-visible mask, warped source image, light and normals of the driving face (ten channels).
    """

    def __init__(self, config: DCNetConfig) -> None:
        super().__init__(config)
        widths = channels_at_scales(config.width, config.scales)
        self.texture = TextureEncoder(widths)
        self.context = ContextEncoder(config.width, config.scales, config.context_scales, False, _DILATIONS)
        self.join = nn.Conv2d(widths[-1] + self.context.channels, widths[-1], 1)
        conditions = sum(CHANNELS[name] for name in self.condition_names)
        self.conditions = nn.ModuleList(ConditionEncoder(conditions, config.width) for _ in widths)
        self.blocks = nn.ModuleList(ModulatedBlock(widths[-1], config.width) for _ in range(config.blocks))
        self.up = nn.ModuleList(nn.Conv2d(widths[i + 1], widths[i], 3, 1, 1) for i in reversed(range(config.scales)))
        self.fine = nn.ModuleList(ModulatedBlock(widths[i], config.width) for i in reversed(range(config.scales)))
        self.output = nn.Conv2d(config.width, 3, 3, 1, 1)

    def forward(self, scene: Scene, code: None = None) -> Generated:
        source, image = scene.source, scene.source_image
        features = self.texture(image, source.light, source.normal, source.mask)
        sizes = [image.shape[-2:], *(feature.shape[-2:] for feature in features)]
        texture = warp_features(features[-1], scene.view.position, image.shape[-1])
        conditions = scene.conditions.stack(self.condition_names)

        x = self.join(torch.cat([texture, self.context(image, sizes[-1])], dim=1))
        encoded = self.conditions[-1](conditions, sizes[-1])
        for block in self.blocks:
            x = block(x, encoded)
        for scale, up, fine in zip(reversed(range(self.config.scales)), self.up, self.fine, strict=True):
            x = F.interpolate(up(x), size=sizes[scale], mode="nearest")
            x = fine(x, self.conditions[scale](conditions, sizes[scale]))
        picture = torch.sigmoid(self.output(normalize(x)))
        return Generated(picture, torch.zeros_like(picture[:, :1]))
