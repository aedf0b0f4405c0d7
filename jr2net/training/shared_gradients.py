"""Averaging of gradients in shared memory, for workers on one machine.

Over the loopback network, exchanging the gradients of a small network takes as long as its backward. In shared memory,
each worker sums one slice of the gradients and reads the rest at memory speed.
"""

import os
import tempfile
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import torch
import torch.distributed
from torch import Tensor, nn
from torch.futures import Future
from torch.nn.parallel import DistributedDataParallel

SHARED_MEMORY = Path("/dev/shm")


class SharedGradients:
    """Shared memory for the gradients (N,) float32 of every worker, and for their mean.

    All workers must call ``average`` with gradients of the same size. If a worker is lost, the next barrier raises.
    """

    def __init__(self, memory: Tensor) -> None:
        """memory: (W + 1, N) float32, shared by all W workers."""
        self._gradients, self._mean = memory[:-1], memory[-1]
        self._rank = torch.distributed.get_rank()

    @staticmethod
    def open(size: int, folder: Path = SHARED_MEMORY) -> "SharedGradients | None":
        """Allocates memory for ``size`` gradients in a file in ``folder``. All workers must call it.

        None if the workers are not all on one machine, or if there is not enough space.
        """
        count = torch.distributed.get_world_size() + 1
        name: list[str | None] = [_reserve(4 * count * size, folder) if torch.distributed.get_rank() == 0 else None]
        torch.distributed.broadcast_object_list(name, 0)
        if name[0] is None:
            return None
        path = Path(name[0])
        memory = torch.from_file(str(path), shared=True, size=count * size) if path.exists() else None
        found = torch.tensor(0 if memory is None else 1)
        torch.distributed.all_reduce(
            found, torch.distributed.ReduceOp.MIN
        )  # all workers have opened the file after this
        if torch.distributed.get_rank() == 0:
            path.unlink()
        return SharedGradients(memory.view(count, size)) if memory is not None and found else None

    def average(self, gradients: Tensor) -> Tensor:
        """Replaces gradients (n,), n <= N, by their mean over the workers. Summed in the order of ranks."""
        rows, mean = self._gradients[:, : len(gradients)], self._mean[: len(gradients)]
        rows[self._rank].copy_(gradients)
        torch.distributed.barrier()
        own_slice = slice(*_slices(len(gradients), len(rows))[self._rank])
        total = mean[own_slice].copy_(rows[0, own_slice])
        for others in rows[1:, own_slice]:
            total.add_(others)
        total.div_(len(rows))
        torch.distributed.barrier()
        return gradients.copy_(mean)


def share_gradients(network: DistributedDataParallel, parameters: Sequence[nn.Parameter]) -> None:
    """Makes ``network`` average its gradients in shared memory, if possible."""
    shared = SharedGradients.open(sum(parameter.numel() for parameter in parameters))
    if shared is not None:
        network.register_comm_hook(shared, _hook)


# DistributedDataParallel checks these annotations and rejects strings (``from __future__ import annotations``).
def _hook(shared: SharedGradients, bucket: torch.distributed.GradBucket) -> Future[Tensor]:
    done: Future[Tensor] = Future()
    done.set_result(shared.average(bucket.buffer()))
    return done


def _slices(size: int, workers: int) -> list[tuple[int, int]]:
    """Splits ``size`` gradients into one (start, end) range per worker."""
    return list(pairwise(size * rank // workers for rank in range(workers + 1)))


def _reserve(size: int, folder: Path) -> str | None:
    """Creates a file of ``size`` bytes in ``folder``; None if the folder is missing or has too little space."""
    if not folder.is_dir():
        return None
    handle, name = tempfile.mkstemp(prefix="jr2net-gradients-", dir=folder)
    try:
        os.posix_fallocate(handle, 0, size)  # fails now instead of with a bus error during a step
    except OSError:
        Path(name).unlink()
        return None
    finally:
        os.close(handle)
    return name
