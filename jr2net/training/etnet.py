"""ETNet's training step: synthesised pictures in, the coefficients that caused them out."""

from __future__ import annotations

import torch
from torch import nn

from jr2net import losses
from jr2net.config import OptimizerConfig
from jr2net.training.training import Batch, Training

ACTIVATION_WEIGHT = 1000.0
"""The mean over 51 mostly idle coefficients has gradients as small as Adam's epsilon; scaled, they count."""


class ETNetTraining(Training):
    """Trains the expression tracker on pair shards with the paper's activation loss."""

    def __init__(self, network: nn.Module, optimizer: OptimizerConfig, device: torch.device | str = "cpu") -> None:
        super().__init__({"etnet": network}, optimizer, device)

    def step(self, batch: Batch) -> dict[str, float]:
        batch = self.to_device(batch)
        predicted = self.wrapped["etnet"](batch["image"])
        loss = ACTIVATION_WEIGHT * losses.activation(predicted, batch["expression"])
        values = self.descend("etnet", {"activation": loss}, batch)
        self.step_number += 1
        return values
