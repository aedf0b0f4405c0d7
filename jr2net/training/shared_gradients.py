"""Gradients of workers on one machine, averaged in memory that all of them see.

Sent from process to process over the loopback, the gradients of a small network take as long as its backward; here
every worker adds up its part of them, and reads the rest, as fast as memory is.
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
    """Memory for the gradients (N,) float32 of every worker, and for their mean.

    All workers call ``average`` with gradients of one size. A lost worker is noticed at the next barrier, which raises.
    """

    def __init__(self, memory: Tensor) -> None:
        """memory: (W + 1, N) float32, the same on all W workers."""
        self._own, self._mean = memory[:-1], memory[-1]
        self._rank = torch.distributed.get_rank()

    @staticmethod
    def open(size: int, place: Path = SHARED_MEMORY) -> "SharedGradients | None":
        """For ``size`` gradients, in the file system ``place``.

        None where the workers are not all on one machine, or where there is no room.
        """
        count = torch.distributed.get_world_size() + 1
        name: list[str | None] = [_reserve(4 * count * size, place) if torch.distributed.get_rank() == 0 else None]
        torch.distributed.broadcast_object_list(name, 0)
        if name[0] is None:
            return None
        path = Path(name[0])
        memory = torch.from_file(str(path), shared=True, size=count * size) if path.exists() else None
        found = torch.tensor(0 if memory is None else 1)
        torch.distributed.all_reduce(found, torch.distributed.ReduceOp.MIN)  # nobody opens it after this
        if torch.distributed.get_rank() == 0:
            path.unlink()
        return SharedGradients(memory.view(count, size)) if memory is not None and found else None

    def average(self, gradients: Tensor) -> Tensor:
        """gradients (n,), n <= N, to their mean over the workers, in place. Summed in the order of the ranks."""
        own, mean = self._own[:, : len(gradients)], self._mean[: len(gradients)]
        own[self._rank].copy_(gradients)
        torch.distributed.barrier()
        part = slice(*_parts(len(gradients), len(own))[self._rank])
        total = mean[part].copy_(own[0, part])
        for others in own[1:, part]:
            total.add_(others)
        total.div_(len(own))
        torch.distributed.barrier()
        return gradients.copy_(mean)


def share_gradients(network: DistributedDataParallel, parameters: Sequence[nn.Parameter]) -> None:
    """Lets ``network`` average its gradients that way if it can, else as it did."""
    shared = SharedGradients.open(sum(parameter.numel() for parameter in parameters))
    if shared is not None:
        network.register_comm_hook(shared, _hook)


# DistributedDataParallel looks at these annotations themselves: as texts it would refuse them.
def _hook(shared: SharedGradients, bucket: torch.distributed.GradBucket) -> Future[Tensor]:
    done: Future[Tensor] = Future()
    done.set_result(shared.average(bucket.buffer()))
    return done


def _parts(size: int, workers: int) -> list[tuple[int, int]]:
    """``size`` gradients in one part for each worker."""
    return list(pairwise(size * rank // workers for rank in range(workers + 1)))


def _reserve(size: int, place: Path) -> str | None:
    """A new file of ``size`` bytes in ``place``; None where there is no such folder or too little room."""
    if not place.is_dir():
        return None
    handle, name = tempfile.mkstemp(prefix="jr2net-gradients-", dir=place)
    try:
        os.posix_fallocate(handle, 0, size)  # now, rather than a bus error in the middle of a step
    except OSError:
        Path(name).unlink()
        return None
    finally:
        os.close(handle)
    return name
