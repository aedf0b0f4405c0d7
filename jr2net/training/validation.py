"""The loss of a network on people that it is not trained on."""

from __future__ import annotations

from collections.abc import Iterable

import torch
import torch.distributed
from torch import Tensor

from jr2net.training.phases import Phases
from jr2net.training.training import Batch, Training
from jr2net.training.workers import world_size


@torch.no_grad()
def validate(training: Training, batches: Iterable[Batch]) -> dict[str, float]:
    """The mean of each term of ``training.validation_losses`` over the samples of the batches of all workers.

    Every worker must call it; all get the same values.
    """
    phases, training.phases = training.phases, Phases()  # the time of training alone counts in its phases
    sums: dict[str, Tensor] = {}
    count = 0
    for batch in batches:
        for microbatch in training.microbatches(batch):
            size = next(len(value) for value in microbatch.values() if isinstance(value, Tensor))
            count += size
            for term, loss in training.validation_losses(microbatch).items():
                sums[term] = sums.get(term, loss.new_zeros(())) + size * loss
    training.phases = phases
    totals = torch.stack([*sums.values(), torch.tensor(float(count), device=training.device)]).double()
    if world_size() > 1:
        torch.distributed.all_reduce(totals)
    return dict(zip(sums, (totals[:-1] / totals[-1]).tolist(), strict=True))
