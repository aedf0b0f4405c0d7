"""What the training of every network of the cascade has in common: one step at a time, and a state that restores it.

A ``Training`` knows its networks, losses and optimisers. It knows no loop, no workers and no Ray: whoever drives it
(``jobs/train.py``, a test, a notebook) wraps the networks if need be, feeds batches and saves the state.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from jr2net.config import OptimizerConfig
from jr2net.training.phases import Phases
from jr2net.training.schedule import learning_rate

Batch = dict[str, Any]


class NonFiniteLoss(ArithmeticError):
    """A loss became NaN or infinite; the message names term, step and samples. Not worth a retry."""


class Training(ABC):
    """One network's training. Subclasses fill ``networks`` and write ``step``.

    networks     name -> the plain network, whose weights are saved
    wrapped      name -> what the step calls: the plain network, or DistributedDataParallel around it
    steps        optimiser steps of a whole training
    step_number  steps done so far
    phases       where the time of the steps goes
    """

    def __init__(
        self,
        networks: dict[str, nn.Module],
        optimizer: OptimizerConfig,
        device: torch.device | str,
        learning_rates: dict[str, float] | None = None,
        betas: tuple[float, float] = (0.9, 0.999),
    ) -> None:
        self.device = torch.device(device)
        self.networks = {name: network.to(self.device) for name, network in networks.items()}
        self.wrapped = dict(self.networks)
        self.settings = optimizer
        self.steps = optimizer.steps
        self.step_number = 0
        self.phases = Phases()
        self._base_rates = {name: (learning_rates or {}).get(name, optimizer.learning_rate) for name in networks}
        self._optimizers = {
            name: torch.optim.Adam(
                [p for p in network.parameters() if p.requires_grad], self._base_rates[name], betas=betas, fused=True
            )
            for name, network in self.networks.items()
        }

    @abstractmethod
    def step(self, batch: Batch) -> dict[str, float]:
        """Takes one optimiser step on a worker's part of the global batch; returns the losses by name."""

    def wrap(self, function: Callable[[nn.Module], nn.Module]) -> None:
        """Replaces what the step calls, e.g. by DistributedDataParallel around each network."""
        self.wrapped = {name: function(network) for name, network in self.networks.items()}

    def descend(self, name: str, losses: dict[str, Tensor], batch: Batch) -> dict[str, float]:
        """Backward through the sum of ``losses``, then one clipped optimiser step of network ``name``.

        Raises NonFiniteLoss before the weights are touched.
        """
        values = {term: float(loss.detach()) for term, loss in losses.items()}
        self._check_finite(values, batch)
        self.phases.end("forward")
        optimizer = self._optimizers[name]
        rate = learning_rate(self.step_number, self.settings, self._base_rates[name])
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.zero_grad(set_to_none=True)
        torch.stack(list(losses.values())).sum().backward()
        self.phases.end("backward")
        norm = nn.utils.clip_grad_norm_(
            [p for group in optimizer.param_groups for p in group["params"]], self.settings.clip_gradient
        )
        values[f"{name}_gradient"] = float(norm)
        self._check_finite(values, batch)
        optimizer.step()
        self.phases.end("optimizer")
        return values

    def to_device(self, batch: Batch) -> Batch:
        return {k: v.to(self.device, non_blocking=True) if isinstance(v, Tensor) else v for k, v in batch.items()}

    def state_dict(self) -> dict[str, Any]:
        """Everything that a step reads and changes; with the data's position (the step) it restores a run exactly."""
        return {
            "step": self.step_number,
            "networks": {name: network.state_dict() for name, network in self.networks.items()},
            "optimizers": {name: optimizer.state_dict() for name, optimizer in self._optimizers.items()},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.step_number = state["step"]
        for name, network in self.networks.items():
            network.load_state_dict(state["networks"][name])
        for name, optimizer in self._optimizers.items():
            optimizer.load_state_dict(state["optimizers"][name])

    def _check_finite(self, values: dict[str, float], batch: Batch) -> None:
        broken = [term for term, value in values.items() if not torch.isfinite(torch.tensor(value))]
        if broken:
            samples = ", ".join(map(str, batch.get("sample_id", [])[:8])) or "unknown"
            raise NonFiniteLoss(
                f"step {self.step_number}: {', '.join(broken)} became NaN or infinite on samples {samples}; "
                "lower the learning rate or look at these samples"
            )
