"""ETNet: the paper's expression tracking network, from an image to the 51 ARKit coefficients."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from jr2net.config import BackboneConfig
from jr2net.face.arkit import ARKIT_NAMES
from jr2net.networks.expression import ExpressionHead, KeypointExpressionHead
from jr2net.networks.precision import in_float32
from jr2net.networks.resnet import ResNet

_READ_STAGES = (1, 2)
"""The maps that are read around keypoints: those at 1/4 and 1/8 of the side."""


class ETNet(nn.Module):
    """Image (B, 3, S, S) in [0, 1] to expression (B, 51) in [0, 1], order of ``ARKIT_NAMES``.

    keypoints: read the coefficients from the maps around 70 keypoints as well, which the first of the backbone's
    points are (``face.landmarks``); the paper's network reads them from pooled features.
    """

    kind = "etnet"

    def __init__(self, config: BackboneConfig, pretrained: bool = True, keypoints: bool = False) -> None:
        super().__init__()
        self.config, self.keypoints = config, keypoints
        self.backbone = ResNet(config, pretrained)
        outputs = len(ARKIT_NAMES)
        self.expression: ExpressionHead | KeypointExpressionHead
        if keypoints:
            pooled = self.backbone.channels - 2 * config.points
            channels = [self.backbone.stage_channels[stage] for stage in _READ_STAGES]
            self.expression = KeypointExpressionHead(pooled, channels, config.points, outputs)
        else:
            self.expression = ExpressionHead(self.backbone.channels, outputs)

    @property
    def architecture(self) -> dict[str, Any]:
        return {"backbone": self.config.model_dump(mode="json")} | ({"keypoints": True} if self.keypoints else {})

    @classmethod
    def from_architecture(cls, architecture: Mapping[str, Any]) -> ETNet:
        keypoints = architecture.get("keypoints", False)
        return cls(BackboneConfig(**architecture["backbone"]), pretrained=False, keypoints=keypoints)

    def forward(self, image: Tensor, with_points: bool = False) -> Tensor | tuple[Tensor, Tensor]:
        """with_points: return the backbone's points (B, P, 2) too, -1 … 1 across the image; needs ``keypoints``."""
        if self.keypoints:
            expression, points = self._track(image)
            return (expression, points) if with_points else expression
        features = self.backbone(image).float()
        with in_float32(features):
            return self.expression(features)

    def _track(self, image: Tensor) -> tuple[Tensor, Tensor]:
        maps = self.backbone.stages(image)
        pooled = maps[-1].mean((2, 3)).float()
        points = self.backbone.find_points(maps)
        with in_float32(points):
            return self.expression(pooled, [maps[stage].float() for stage in _READ_STAGES], points), points
