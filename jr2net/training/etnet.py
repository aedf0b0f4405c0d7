"""ETNet's training step: supervised regression of the coefficients of synthesised images."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from jr2net.config import OptimizerConfig
from jr2net.training import losses
from jr2net.training.training import Batch, Training

ACTIVATION_WEIGHT = 1000.0
"""Without this scale, gradients of the mean over 51 mostly inactive coefficients are as small as Adam's epsilon."""

SQUARED_WEIGHT = 2000.0
"""Gives the squared error the gradient of the activation loss where the prediction is 0."""


class ETNetTraining(Training):
    """Trains ETNet on pair shards with the paper's activation loss.

    The first fraction ``squared_until`` in [0, 1] of the steps uses squared error instead, which learns rare shapes in
    about half as many steps.
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

        gradients = self.backward("etnet", losses_of, self.microbatches(batch))
        values = self.update([gradients], {"expression_deviation": torch.stack(deviations).mean()})
        self.step_number += 1
        return values

    def validation_losses(self, batch: Batch) -> dict[str, Tensor]:
        """Squared error and activation loss, whichever is trained."""
        predicted, truth = self.forward(self.networks["etnet"], batch["image"]), batch["expression"]
        return {
            "squared": SQUARED_WEIGHT * (predicted - truth).square().mean(),
            "activation": ACTIVATION_WEIGHT * losses.activation(predicted, truth),
        }
