"""ETNet: the paper's expression tracking network, from an image to the 51 ARKit coefficients."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from jr2net.config import BackboneConfig
from jr2net.face.arkit import ARKIT_NAMES
from jr2net.networks.expression import ExpressionHead
from jr2net.networks.precision import in_float32
from jr2net.networks.resnet import ResNet


class ETNet(nn.Module):
    """Image (B, 3, S, S) in [0, 1] to expression (B, 51) in [0, 1], order of ``ARKIT_NAMES``."""

    kind = "etnet"

    def __init__(self, config: BackboneConfig, pretrained: bool = True) -> None:
        super().__init__()
        self.config = config
        self.backbone = ResNet(config, pretrained)
        self.expression = ExpressionHead(self.backbone.channels, len(ARKIT_NAMES))

    @property
    def architecture(self) -> dict[str, Any]:
        return {"backbone": self.config.model_dump(mode="json")}

    @classmethod
    def from_architecture(cls, architecture: Mapping[str, Any]) -> ETNet:
        return cls(BackboneConfig(**architecture["backbone"]), pretrained=False)

    def forward(self, image: Tensor) -> Tensor:
        features = self.backbone(image).float()
        with in_float32(features):
            return self.expression(features)
