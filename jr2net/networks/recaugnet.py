"""RecAugNet: RecNet with ETNet as its expression module (the paper's final reconstruction network)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from jr2net.face.parameters import FaceParameters
from jr2net.networks.etnet import ETNet
from jr2net.networks.recnet import RecNet


class RecAugNet(nn.Module):
    """Image (B, 3, S, S) in [0, 1] to FaceParameters: expression from ETNet, everything else from RecNet.

    RecNet's unused expression head is frozen, and ETNet unless ``train_etnet``.
    """

    kind = "recaugnet"

    def __init__(self, recnet: RecNet, etnet: ETNet, train_etnet: bool = False) -> None:
        super().__init__()
        self.recnet = recnet
        self.etnet = etnet
        self.etnet.requires_grad_(train_etnet)
        self.recnet.expression.requires_grad_(False)

    @property
    def sizes(self) -> dict[str, int]:
        return self.recnet.sizes

    @property
    def architecture(self) -> dict[str, Any]:
        return {"recnet": self.recnet.architecture, "etnet": self.etnet.architecture}

    @classmethod
    def from_architecture(cls, architecture: Mapping[str, Any]) -> RecAugNet:
        return cls(RecNet.from_architecture(architecture["recnet"]), ETNet.from_architecture(architecture["etnet"]))

    def forward(self, image: Tensor) -> FaceParameters:
        return self.recnet(image).replace(expression=self.etnet(image))
