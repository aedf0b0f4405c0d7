"""Several processes taking one step together: gradients and losses of the whole batch from each worker's part of it.

Uses ``torch.distributed`` alone; with one process, or none set up, everything stays as it is.
"""

from __future__ import annotations

import torch
import torch.distributed
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from jr2net.training.shared_gradients import share_gradients

_ONE_BUCKET_MB = 1024


def world_size() -> int:
    return torch.distributed.get_world_size() if torch.distributed.is_initialized() else 1


def distribute(network: nn.Module) -> nn.Module:
    """The network with its gradients averaged over all workers during backward.

    On GPUs gradients travel in buckets while backward goes on. On a processor, which does both, there is nothing to
    hide behind: they travel at once, and within one machine through its memory. Nothing but parameters changes in
    training, so buffers stay where they are.
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


def agreed(number: int | None, device: torch.device | str = "cpu") -> int | None:
    """Worker 0's number (0 or more, or None), on every worker."""
    if world_size() == 1:
        return number
    value = torch.tensor(-1 if number is None else number, device=device)
    torch.distributed.broadcast(value, 0)
    return None if value.item() < 0 else int(value.item())


def mean_over_workers(losses: list[dict[str, float]], device: torch.device | str = "cpu") -> list[dict[str, float]]:
    """Losses of some steps, of each worker's part of the batch, to those of the whole: their mean, in one exchange.

    Every worker calls it with the same steps and terms.
    """
    if world_size() == 1 or not losses:
        return losses
    values = torch.tensor([value for step in losses for value in step.values()], dtype=torch.float64, device=device)
    torch.distributed.all_reduce(values)
    means = iter((values / world_size()).tolist())
    return [{term: next(means) for term in step} for step in losses]
