"""Base class of all trainings: the training step and the state to resume from.

A ``Training`` has networks, losses and optimisers, but no training loop and no Ray. The caller (``jobs/train.py``, a
test, a notebook) wraps the networks if needed, provides batches and saves the state.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from jr2net.config import OptimizerConfig
from jr2net.device import to_device
from jr2net.networks.precision import in_bfloat16
from jr2net.training.guard import Divergence, LossMonitor, check_finite
from jr2net.training.phases import Phases
from jr2net.training.schedule import learning_rate
from jr2net.training.workers import gather, world_size

Batch = dict[str, Any]
Losses = Callable[[Batch], dict[str, Tensor]]
"""Micro-batch -> weighted loss terms by name, each a mean over its samples."""


@dataclass(frozen=True)
class Part:
    """What a micro-batch has contributed to gradients: its loss terms on the device, its weight and its samples."""

    terms: dict[str, Tensor]
    weight: float
    samples: list[object]


@dataclass(frozen=True)
class Gradients:
    """Gradients that the parameters of networks hold, by the names of the networks, and where they come from."""

    names: tuple[str, ...]
    parts: list[Part]


class Training(ABC):
    """Training of one stage. Subclasses pass their networks and implement ``step``.

    networks     name -> the plain network, whose weights are saved
    wrapped      name -> the module that the step calls: the network, or DistributedDataParallel around it
    steps        total number of optimiser steps
    step_number  number of completed steps
    phases       time per phase
    accumulate   number of micro-batches per worker and step (gradient accumulation)
    bf16         whether networks compute in bfloat16 (autocast); weights, rendering and losses stay float32
    checks_first whether losses are checked before each backward and not after the last one: on CPUs, where reading them
                 costs nothing and the backward of NaN coordinates (``grid_sample``) crashes
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
        self.accumulate, self.bf16, self.checks_first = 1, False, self.device.type == "cpu"
        self._monitors = {name: LossMonitor() for name in networks}
        self._base_rates = {name: (learning_rates or {}).get(name, optimizer.learning_rate) for name in networks}
        self._optimizers = {
            name: torch.optim.Adam(
                [p for p in network.parameters() if p.requires_grad], self._base_rates[name], betas=betas, fused=True
            )
            for name, network in self.networks.items()
        }

    @abstractmethod
    def step(self, batch: Batch) -> dict[str, float]:
        """One optimiser step on this worker's part of the global batch; returns the losses by name."""

    @abstractmethod
    def validation_losses(self, batch: Batch) -> dict[str, Tensor]:
        """Loss terms, each a mean over its samples, of the network that is saved; they mean the same at every step."""

    def sample_images(self, batch: Batch) -> Tensor | None:
        """A grid of sample images (3, H, W) in [0, 1] that shows the progress, or None."""
        return None

    def rate(self, step: int, name: str | None = None) -> float:
        """Learning rate at ``step`` of one network, or of the one that most of the training is about."""
        return learning_rate(step, self.settings, None if name is None else self._base_rates[name])

    def wrap(self, function: Callable[[nn.Module], nn.Module]) -> None:
        """Wraps the networks that the step calls, e.g. in DistributedDataParallel."""
        self.wrapped = {name: function(network) for name, network in self.networks.items()}

    def forward(self, network: Callable[..., Any], *arguments: Any) -> Any:
        """Runs a network, in bfloat16 if ``bf16``; the output is float32."""
        if not self.bf16:
            return network(*arguments)
        return in_bfloat16(self.device, network, *arguments)

    def microbatches(self, batch: Batch) -> list[Batch]:
        """A worker's batch on its device, split into ``accumulate`` micro-batches of nearly equal size.

        ``offset`` is the index of a micro-batch's first sample in the global batch.
        """
        batch = {k: to_device(v, self.device) if isinstance(v, Tensor) else v for k, v in batch.items()}
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

    def backward(self, names: str | Sequence[str], losses: Losses, microbatches: Sequence[Batch]) -> Gradients:
        """Backward through the weighted sum of ``losses`` of all micro-batches; ``update`` changes the weights.

        names: the network, or the networks, whose parameters get gradients. Every one of them must take part in the
        losses: with several workers it is an error otherwise. The host does not wait for a GPU.
        """
        names = (names,) if isinstance(names, str) else tuple(names)
        for name in names:
            self._optimizers[name].zero_grad(set_to_none=True)
        parts = []
        for microbatch in microbatches:
            with ExitStack() as stack:
                if microbatch is not microbatches[-1]:
                    for name in names:
                        stack.enter_context(self.no_sync(name))
                terms = losses(microbatch)
                weight = self._weight(microbatch, microbatches)
                part = Part({term: loss.detach() for term, loss in terms.items()}, weight, _samples(microbatch))
                if self.checks_first:
                    self._monitor(names[0], {term: float(loss) for term, loss in part.terms.items()}, part)
                self.phases.end("forward")
                total = torch.stack(list(terms.values())).sum()
                (total if weight == 1 else weight * total).backward()
                self.phases.end("backward")
            parts.append(part)
        return Gradients(names, parts)

    def update(self, gradients: Sequence[Gradients], logged: Mapping[str, Tensor] | None = None) -> dict[str, float]:
        """One clipped optimiser step with all gradients; the gradient of each network is clipped by itself.

        Returns each loss term (its mean over workers is the value of the global batch), each gradient's norm and the
        numbers ``logged``. All of them are copied to the host at once, and checked before any weight is changed. Raises
        NonFiniteLoss or ExplodingLoss.
        """
        networks = [name for each in gradients for name in each.names]
        norms = [nn.utils.clip_grad_norm_(self._parameters(name), self.settings.clip_gradient) for name in networks]
        losses = [value for each in gradients for part in each.parts for value in part.terms.values()]
        logged = logged or {}
        numbers = iter(torch.stack([*losses, *norms, *logged.values()]).tolist())
        terms = [[{term: next(numbers) for term in part.terms} for part in each.parts] for each in gradients]
        norm = {name: next(numbers) for name in networks}

        self._check(gradients, terms, norm)
        for name in networks:
            optimizer, rate = self._optimizers[name], self.rate(self.step_number, name)
            for group in optimizer.param_groups:
                group["lr"] = rate
            optimizer.step()
        self.phases.end("optimizer")
        values: dict[str, float] = {}
        for each, of_parts in zip(gradients, terms, strict=True):
            for part, of_part in zip(each.parts, of_parts, strict=True):
                for term, value in of_part.items():
                    values[term] = values.get(term, 0.0) + part.weight * value
            values |= {f"{name}_gradient": norm[name] for name in each.names}
        return values | {name: next(numbers) for name in logged}

    def _check(
        self, gradients: Sequence[Gradients], terms: Sequence[Sequence[dict[str, float]]], norm: dict[str, float]
    ) -> None:
        """Raises Divergence where a loss or a gradient's norm is not finite, or a loss explodes."""
        error: Divergence | None = None
        if not self.checks_first:
            try:
                for each, of_parts in zip(gradients, terms, strict=True):
                    for part, of_part in zip(each.parts, of_parts, strict=True):
                        self._monitor(each.names[0], of_part, part)
            except Divergence as found:
                error = found
        if not all(map(math.isfinite, norm.values())):  # on all workers alike, whosever samples are to blame
            error = next((found for found in gather(error) if found is not None), None)
        if error is not None:
            raise error
        for each in gradients:
            samples = [sample for part in each.parts for sample in part.samples]
            check_finite({f"{name}_gradient": norm[name] for name in each.names}, self.step_number, samples)

    def _monitor(self, name: str, terms: dict[str, float], part: Part) -> None:
        self._monitors[name].check(terms, self.step_number, part.samples)

    def _parameters(self, name: str) -> list[nn.Parameter]:
        return [parameter for group in self._optimizers[name].param_groups for parameter in group["params"]]

    def state_dict(self) -> dict[str, Any]:
        """The complete state of the training; together with the position in the data (the step) it resumes exactly.

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
        """Weight of a micro-batch's mean; averaged over workers, the weighted sums give the global batch's mean."""
        if world_size() > 1:
            return _size(microbatch) * world_size() / self.settings.batch_size
        return 1.0 if len(microbatches) == 1 else _size(microbatch) / sum(map(_size, microbatches))

    def no_sync(self, name: str) -> AbstractContextManager:
        """Disables the gradient all-reduce while gradients are accumulated (DistributedDataParallel.no_sync)."""
        wrapped = self.wrapped[name]
        return wrapped.no_sync() if isinstance(wrapped, DistributedDataParallel) else nullcontext()


def _size(batch: Batch) -> int:
    return next(len(value) for value in batch.values() if isinstance(value, Tensor))


def _samples(batch: Batch) -> list[object]:
    return list(batch.get("sample_id") or batch.get("pair_id") or [])
