"""Data-parallel training: averages gradients and losses over workers with ``torch.distributed``.

With a single process, or without a process group, all functions do nothing.
"""

from __future__ import annotations

from typing import Any, TypeVar

import torch
import torch.distributed
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from jr2net.training.shared_gradients import share_gradients

_ONE_BUCKET_MB = 1024

T = TypeVar("T")


def world_size() -> int:
    return torch.distributed.get_world_size() if torch.distributed.is_initialized() else 1


def distribute(network: nn.Module) -> nn.Module:
    """The network with its gradients averaged over all workers during backward.

    On GPUs, buckets of gradients are reduced while backward continues. On CPUs this overlap gains nothing, so there is
    one bucket, averaged in shared memory if all workers are on one machine. Buffers do not change in training and are
    not synchronised.
    """
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    if world_size() == 1 or not parameters:
        return network
    device = parameters[0].device
    if device.type == "cuda":
        return DistributedDataParallel(
            network, device_ids=[device], gradient_as_bucket_view=True, forward_sync_buffers=False
        )
    wrapped = DistributedDataParallel(
        network, gradient_as_bucket_view=True, forward_sync_buffers=False, bucket_cap_mb=_ONE_BUCKET_MB
    )
    share_gradients(wrapped, parameters)
    return wrapped


def broadcast_int(number: int | None, device: torch.device | str = "cpu") -> int | None:
    """Returns worker 0's number (0 or more, or None) on every worker."""
    if world_size() == 1:
        return number
    value = torch.tensor(-1 if number is None else number, device=device)
    torch.distributed.broadcast(value, 0)
    return None if value.item() < 0 else int(value.item())


def gather(value: T) -> list[T]:
    """The values of all workers, in their order; every worker must call it. They are pickled."""
    if world_size() == 1:
        return [value]
    values: list[Any] = [None] * world_size()
    torch.distributed.all_gather_object(values, value)
    return values


def mean_over_workers(losses: list[dict[str, float]], device: torch.device | str = "cpu") -> list[dict[str, float]]:
    """Averages the losses of several steps over workers, with one all-reduce.

    Every worker must call it with the same steps and terms.
    """
    if world_size() == 1 or not losses:
        return losses
    values = torch.tensor([value for step in losses for value in step.values()], dtype=torch.float64, device=device)
    torch.distributed.all_reduce(values)
    means = iter((values / world_size()).tolist())
    return [{term: next(means) for term in step} for step in losses]
