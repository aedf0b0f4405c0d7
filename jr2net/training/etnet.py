"""ETNet's training step: synthesised pictures in, the coefficients that caused them out."""

from __future__ import annotations

import torch
from torch import nn

from jr2net import losses
from jr2net.config import OptimizerConfig
from jr2net.training.training import Batch, Training


class ETNetTraining(Training):
    """Trains the expression tracker on pair shards with the paper's activation loss."""

    def __init__(self, network: nn.Module, optimizer: OptimizerConfig, device: torch.device | str = "cpu") -> None:
        super().__init__({"etnet": network}, optimizer, device)

    def step(self, batch: Batch) -> dict[str, float]:
        batch = self.to_device(batch)
        predicted = self.wrapped["etnet"](batch["image"])
        values = self.descend("etnet", {"activation": losses.activation(predicted, batch["expression"])}, batch)
        self.step_number += 1
        return values
