"""What the training of every network of the cascade has in common: one step at a time, and a state that restores it.

A ``Training`` knows its networks, losses and optimisers. It knows no loop and no Ray: whoever drives it
(``jobs/train.py``, a test, a notebook) wraps the networks if need be, feeds batches and saves the state.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from jr2net.config import OptimizerConfig
from jr2net.networks.precision import in_bfloat16
from jr2net.training.guard import LossWatch, check_finite
from jr2net.training.phases import Phases
from jr2net.training.schedule import learning_rate
from jr2net.training.workers import world_size

Batch = dict[str, Any]
Losses = Callable[[Batch], dict[str, Tensor]]
"""A microbatch to the weighted terms of a loss, each a mean over its samples."""


class Training(ABC):
    """One network's training. Subclasses fill ``networks`` and write ``step``.

    networks     name -> the plain network, whose weights are saved
    wrapped      name -> what the step calls: the plain network, or DistributedDataParallel around it
    steps        optimiser steps of a whole training
    step_number  steps done so far
    phases       where the time of the steps goes
    accumulate   microbatches in which a worker takes its share of a batch, to save memory
    bf16         whether networks compute in bfloat16 (autocast); weights, rendering and losses stay float32
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
        self.accumulate, self.bf16 = 1, False
        self._watches = {name: LossWatch() for name in networks}
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

    def pictures(self, batch: Batch) -> Tensor | None:
        """What people look at to see how far the training is: (3, H, W) in [0, 1]; None where nothing can be shown."""
        return None

    def wrap(self, function: Callable[[nn.Module], nn.Module]) -> None:
        """Replaces what the step calls, e.g. by DistributedDataParallel around each network."""
        self.wrapped = {name: function(network) for name, network in self.networks.items()}

    def forward(self, network: Callable[..., Any], *arguments: Any) -> Any:
        """A network's output, in float32 whatever it computes in."""
        if not self.bf16:
            return network(*arguments)
        return in_bfloat16(self.device, network, *arguments)

    def microbatches(self, batch: Batch) -> list[Batch]:
        """A worker's batch on its device, split into ``accumulate`` microbatches of nearly one size.

        ``offset`` is the index of a microbatch's first sample in the global batch.
        """
        batch = {k: v.to(self.device, non_blocking=True) if isinstance(v, Tensor) else v for k, v in batch.items()}
        size = _size(batch)
        count = min(self.accumulate, size)
        if count == 1:
            return [batch]
        offset = batch.get("offset", 0)
        return [
            {k: v[first:last] if isinstance(v, Tensor | list) else v for k, v in batch.items()}
            | {"offset": offset + first}
            for first, last in pairwise(size * i // count for i in range(count + 1))
        ]

    def backward_and_step(self, name: str, losses: Losses, microbatches: Sequence[Batch]) -> dict[str, float]:
        """Backward through the sum of ``losses`` of all microbatches, then one clipped optimiser step of one network.

        name: of the network whose parameters are updated. Raises NonFiniteLoss or ExplodingLoss before the weights are
        touched. Returns each term; its mean over the workers is that of the global batch.
        """
        optimizer = self._optimizers[name]
        rate = learning_rate(self.step_number, self.settings, self._base_rates[name])
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.zero_grad(set_to_none=True)
        values: dict[str, float] = {}
        for microbatch in microbatches:
            with nullcontext() if microbatch is microbatches[-1] else self.no_sync(name):
                terms = losses(microbatch)
                found = {term: float(loss.detach()) for term, loss in terms.items()}
                self._watches[name].check(found, self.step_number, _samples(microbatch))
                weight = self._weight(microbatch, microbatches)
                self.phases.end("forward")
                total = torch.stack(list(terms.values())).sum()
                (total if weight == 1 else weight * total).backward()
                self.phases.end("backward")
            for term, value in found.items():
                values[term] = values.get(term, 0.0) + weight * value
        norm = nn.utils.clip_grad_norm_(
            [p for group in optimizer.param_groups for p in group["params"]], self.settings.clip_gradient
        )
        values[f"{name}_gradient"] = float(norm)
        check_finite(
            values, self.step_number, [sample for microbatch in microbatches for sample in _samples(microbatch)]
        )
        optimizer.step()
        self.phases.end("optimizer")
        return values

    def state_dict(self) -> dict[str, Any]:
        """Everything that a step reads and changes; with the data's position (the step) it restores a run exactly.

        Learning rates and random numbers are functions of the step.
        """
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

    def _weight(self, microbatch: Batch, microbatches: Sequence[Batch]) -> float:
        """The weight of a microbatch's mean: with it, the workers' mean of their sums is the global batch's mean."""
        if world_size() > 1:
            return _size(microbatch) * world_size() / self.settings.batch_size
        return 1.0 if len(microbatches) == 1 else _size(microbatch) / sum(map(_size, microbatches))

    def no_sync(self, name: str) -> AbstractContextManager:
        """Keeps gradients on this worker: more microbatches will add to them (DistributedDataParallel.no_sync)."""
        wrapped = self.wrapped[name]
        return wrapped.no_sync() if isinstance(wrapped, DistributedDataParallel) else nullcontext()


def _size(batch: Batch) -> int:
    return next(len(value) for value in batch.values() if isinstance(value, Tensor))


def _samples(batch: Batch) -> list[object]:
    return list(batch.get("sample_id") or batch.get("pair_id") or [])
