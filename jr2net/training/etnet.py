"""ETNet's training step: supervised regression of the coefficients of synthesised images."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from jr2net.config import OptimizerConfig
from jr2net.networks.etnet import ETNet
from jr2net.training import losses
from jr2net.training.average import update_average
from jr2net.training.training import Batch, Training

ACTIVATION_WEIGHT = 1000.0
"""Without this scale, gradients of the mean over 51 mostly inactive coefficients are as small as Adam's epsilon."""

SQUARED_WEIGHT = 2000.0
"""Gives the squared error the gradient of the activation loss where the prediction is 0."""

KEYPOINT_WEIGHT = 1000.0
"""Makes the keypoints' loss as large as the squared error when both are half learnt."""


class ETNetTraining(Training):
    """Trains ETNet on pair shards with the paper's activation loss.

    The first fraction ``squared_until`` in [0, 1] of the steps uses squared error instead, which learns rare shapes in
    about half as many steps. A network that finds keypoints learns them from the images whose keypoints are known.

    decay: of the moving average of the weights, which ``trained`` is then; 0: ``trained`` is the network itself.
    """

    def __init__(
        self,
        network: ETNet,
        optimizer: OptimizerConfig,
        device: torch.device | str = "cpu",
        squared_until: float = 0.0,
        decay: float = 0.0,
    ) -> None:
        super().__init__({"etnet": network}, optimizer, device)
        self.squared_until = squared_until
        self.finds_keypoints = network.keypoints
        self.decay = decay
        self.trained: nn.Module = self.networks["etnet"]
        if decay:
            self.trained = copy.deepcopy(self.trained).requires_grad_(False)

    def step(self, batch: Batch) -> dict[str, float]:
        deviations: list[Tensor] = []

        def losses_of(microbatch: Batch) -> dict[str, Tensor]:
            predicted, terms = self._predict(self.wrapped["etnet"], microbatch)
            deviations.append(predicted.detach().std(0, correction=0).mean())
            truth = microbatch["expression"]
            if self.step_number < self.squared_until * self.steps:
                return {"squared": SQUARED_WEIGHT * (predicted - truth).square().mean()} | terms
            return {"activation": ACTIVATION_WEIGHT * losses.activation(predicted, truth)} | terms

        gradients = self.backward("etnet", losses_of, self.microbatches(batch))
        values = self.update([gradients], {"expression_deviation": torch.stack(deviations).mean()})
        if self.decay:
            update_average(self.trained, self.networks["etnet"], self.decay, self.step_number)
        self.step_number += 1
        return values

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | ({"average": self.trained.state_dict()} if self.decay else {})

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        if self.decay:
            self.trained.load_state_dict(state["average"])

    def validation_losses(self, batch: Batch) -> dict[str, Tensor]:
        """Squared error and activation loss, whichever is trained."""
        (predicted, terms), truth = self._predict(self.trained, batch), batch["expression"]
        return {
            "squared": SQUARED_WEIGHT * (predicted - truth).square().mean(),
            "activation": ACTIVATION_WEIGHT * losses.activation(predicted, truth),
        } | terms

    def _predict(self, network: nn.Module, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """The coefficients, and the keypoints' loss if the network finds them."""
        if not self.finds_keypoints:
            return self.forward(network, batch["image"]), {}
        predicted, points = self.forward(network, batch["image"], True)
        side = batch["image"].shape[-1]
        return predicted, {"keypoints": KEYPOINT_WEIGHT * losses.keypoints(points, batch["keypoints"], side)}
