"""DCNet's two encoders of the source image (Figure 3): the texture of the face, and the context around it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from jr2net.networks.resnet import group_norm


class TextureEncoder(nn.Module):
    """Source image, light and normal map to texture features at 1/2, 1/4, … of the image side.

    Light and normals allow it to remove the illumination. Features outside the face are set to zero, so that only the
    face is warped. widths: channels at 1, 1/2, 1/4, ….
    """

    def __init__(self, widths: list[int]) -> None:
        super().__init__()
        inputs = [3 + 3 + 3, *widths[1:-1]]
        self.down = nn.ModuleList(_down(i, o) for i, o in zip(inputs, widths[1:], strict=True))

    def forward(self, image: Tensor, light: Tensor, normal: Tensor, mask: Tensor) -> list[Tensor]:
        """(B, 3, S, S) three times and the face's mask (B, 1, S, S) -> one (B, C, S / 2ⁱ, S / 2ⁱ) for each scale."""
        x = torch.cat([2 * image - 1, light, normal], dim=1)
        features = []
        for down in self.down:
            x = down(x)
            # A feature is kept if more than half of its pixels are face.
            face = F.adaptive_avg_pool2d(mask, x.shape[-2:]) > 0.5
            features.append(x * face)
        return features


class ContextEncoder(nn.Module):
    """Source image to global context features: more down-samplings than the texture, then dilated convolutions.

    near: also return the features at the texture's coarsest scale, from before the additional down-samplings.
    """

    def __init__(
        self,
        width: int,
        scales: int,
        context_scales: int,
        near: bool = True,
        dilations: Sequence[int] = (1, 2),
    ) -> None:
        super().__init__()
        widths = [width * min(2**scale, 4) for scale in range(scales + context_scales)]
        self.near = nn.Sequential(*_stack([3, *widths[:scales]]))
        self.far = nn.Sequential(*_stack(widths[scales - 1 :]))
        self.dilated = nn.ModuleList(
            nn.Sequential(nn.Conv2d(widths[-1], widths[-1], 3, 1, d, dilation=d), group_norm(widths[-1]))
            for d in dilations
        )
        self.returns_near = near
        self.channels = widths[-1] + (widths[scales - 1] if near else 0)

    def forward(self, image: Tensor, size: tuple[int, int]) -> Tensor:
        """(B, 3, S, S) in [0, 1] -> (B, ``channels``, *size); ``size`` is that of the texture's coarsest scale."""
        near = self.near(2 * image - 1)
        x = self.far(near)
        for convolution in self.dilated:
            x = x + F.leaky_relu(convolution(x), 0.2)
        x = F.interpolate(x, size=size, mode="bilinear", align_corners=False)
        return torch.cat([near, x], dim=1) if self.returns_near else x


def _stack(widths: list[int]) -> list[nn.Module]:
    return [_down(inputs, outputs) for inputs, outputs in pairwise(widths)]


def _down(inputs: int, outputs: int) -> nn.Sequential:
    """A strided convolution that halves the side."""
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, 2, 1), group_norm(outputs), nn.LeakyReLU(0.2))
