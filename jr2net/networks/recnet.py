"""RecNet: the paper's coarse reconstruction network, from an image to all face parameters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import torch
from torch import Tensor, nn

from jr2net.config import BackboneConfig
from jr2net.face.light import SH_BASES, ambient
from jr2net.face.parameters import FaceParameters
from jr2net.networks.expression import ExpressionHead
from jr2net.networks.precision import in_float32
from jr2net.networks.resnet import ResNet

# Initial prediction: a frontal mean face that fills the crop, under grey light.
START_DISTANCE = 1080.0
START_LIGHT = 0.8

# Scale of each head's output, so that all heads train with the same learning rate.
_ROTATION_RADIANS = 0.3
_SHIFT_MM = 30.0
_LOG_DISTANCE = 0.1


class RecNet(nn.Module):
    """Image (B, 3, S, S) in [0, 1] to FaceParameters of ``sizes`` (a face model's ``sizes``).

    The heads are zero-initialised: the initial prediction for every image is the mean face, nearly neutral, frontal, at
    a distance of 1,080 mm, under grey light. Other initialisations render faces outside of the image, and training
    collapses.
    """

    kind = "recnet"

    def __init__(self, sizes: Mapping[str, int], config: BackboneConfig, pretrained: bool = True) -> None:
        super().__init__()
        self.sizes = {name: int(sizes[name]) for name in ("identity", "expression", "albedo")}
        self.config = config
        self.backbone = ResNet(config, pretrained)
        channels = self.backbone.channels
        self.identity = _zero_head(channels, self.sizes["identity"])
        self.expression = ExpressionHead(channels, self.sizes["expression"])
        self.albedo = _zero_head(channels, self.sizes["albedo"])
        self.rotation = _zero_head(channels, 3)
        self.translation = _zero_head(channels, 3)
        self.light = _zero_head(channels, 3 * SH_BASES)

    @property
    def architecture(self) -> dict[str, Any]:
        return {"sizes": self.sizes, "backbone": self.config.model_dump(mode="json")}

    @classmethod
    def from_architecture(cls, architecture: Mapping[str, Any]) -> RecNet:
        return cls(architecture["sizes"], BackboneConfig(**architecture["backbone"]), pretrained=False)

    def forward(self, image: Tensor) -> FaceParameters:
        features = self.backbone(image).float()
        with in_float32(features):
            return self._predict(features)

    def _predict(self, features: Tensor) -> FaceParameters:
        """Applies the heads to features (B, C)."""
        shift_x, shift_y, log_distance = self.translation(features).unbind(-1)
        translation = torch.stack(
            [_SHIFT_MM * shift_x, _SHIFT_MM * shift_y, START_DISTANCE * (_LOG_DISTANCE * log_distance).exp()], dim=-1
        )
        light = ambient(START_LIGHT, features.device).to(features.dtype) + self.light(features).view(-1, SH_BASES, 3)
        return FaceParameters(
            identity=self.identity(features),
            expression=self.expression(features),
            albedo=self.albedo(features),
            rotation=_ROTATION_RADIANS * self.rotation(features),
            translation=translation,
            light=light,
        )

    def features(self, image: Tensor) -> list[Tensor]:
        """Activations of the stem and the first three stages: Θ of Eq. 4 if no VGG-19 weights are given."""
        return self.backbone.stages(image)[:4]


FACE_OUTPUTS = tuple(field.name for field in fields(FaceParameters))
"""The outputs of ``FaceAsTuple``, in their order."""


class FaceAsTuple(nn.Module):
    """RecNet or RecAugNet with a tuple of tensors as output, for exporters, which know no dataclasses."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        face = self.network(image)
        return tuple(getattr(face, name) for name in FACE_OUTPUTS)


def _zero_head(inputs: int, outputs: int) -> nn.Linear:
    head = nn.Linear(inputs, outputs)
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    return head
