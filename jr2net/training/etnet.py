"""ETNet's training step: synthesised pictures in, the coefficients that caused them out."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from jr2net.config import OptimizerConfig
from jr2net.training import losses
from jr2net.training.training import Batch, Training

ACTIVATION_WEIGHT = 1000.0
"""The mean over 51 mostly idle coefficients has gradients as small as Adam's epsilon; scaled, they count."""

SQUARED_WEIGHT = 2000.0
"""Gradients as large as the activation loss's where a coefficient is missed altogether."""


class ETNetTraining(Training):
    """Trains the expression tracker on pair shards with the paper's activation loss.

    The first ``squared_until`` (0 to 1) of the steps learn with squared error instead: shapes that few pictures show
    were found in about half as many steps.
    """

    def __init__(
        self,
        network: nn.Module,
        optimizer: OptimizerConfig,
        device: torch.device | str = "cpu",
        squared_until: float = 0.0,
    ) -> None:
        super().__init__({"etnet": network}, optimizer, device)
        self.squared_until = squared_until

    def step(self, batch: Batch) -> dict[str, float]:
        deviations: list[Tensor] = []

        def losses_of(microbatch: Batch) -> dict[str, Tensor]:
            predicted = self.forward(self.wrapped["etnet"], microbatch["image"])
            deviations.append(predicted.detach().std(0, correction=0).mean())
            truth = microbatch["expression"]
            if self.step_number < self.squared_until * self.steps:
                return {"squared": SQUARED_WEIGHT * (predicted - truth).square().mean()}
            return {"activation": ACTIVATION_WEIGHT * losses.activation(predicted, truth)}

        values = self.backward_and_step("etnet", losses_of, self.microbatches(batch))
        values["expression_deviation"] = float(torch.stack(deviations).mean())
        self.step_number += 1
        return values
