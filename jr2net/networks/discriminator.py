"""The PatchGAN discriminator (Isola et al. 2017) of Eq. 5 and 6."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from jr2net.networks.resnet import group_norm
from jr2net.render.conditions import CHANNELS, Conditions


class PatchDiscriminator(nn.Module):
    """Image (B, 3, S, S) in [0, 1] and its conditions to logits (B, 1, h, w), one per overlapping patch.

    ``layers`` strided 4 × 4 convolutions, doubling ``width`` up to 8 ×, and two unstrided ones. Group normalisation
    instead of spectral or batch normalisation: it has no running state and does not depend on the rest of the batch, so
    the step is the same on any number of workers. ``conditions`` names the fields of ``Conditions`` that it sees.
    """

    def __init__(self, width: int, layers: int = 3, conditions: Sequence[str] = tuple(CHANNELS)) -> None:
        super().__init__()
        self.condition_names = tuple(conditions)
        widths = [width * min(2**i, 8) for i in range(layers + 1)]
        inputs = 3 + sum(CHANNELS[name] for name in conditions)
        convolutions: list[nn.Module] = []
        for index, outputs in enumerate(widths):
            stride = 2 if index < layers else 1
            convolutions.append(nn.Conv2d(inputs, outputs, 4, stride, 1))
            convolutions.append(nn.Identity() if index == 0 else group_norm(outputs))
            inputs = outputs
        self.convolutions = nn.ModuleList(convolutions)
        self.logits = nn.Conv2d(inputs, 1, 4, 1, 1)

    def features(self, image: Tensor, conditions: Conditions) -> list[Tensor]:
        """Activations after each convolution, first to last."""
        x = torch.cat([2 * image - 1, conditions.stack(self.condition_names)], dim=1)
        activations = []
        for convolution, norm in zip(self.convolutions[::2], self.convolutions[1::2], strict=True):
            x = F.leaky_relu(norm(convolution(x)), 0.2)
            activations.append(x)
        return activations

    def forward(self, image: Tensor, conditions: Conditions) -> Tensor:
        return self.logits(self.features(image, conditions)[-1])
