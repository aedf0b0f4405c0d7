"""The schedule of samples, and prefetching.

The order of samples is a pure function of (seed, epoch). A global batch is a contiguous part of that endless order, and
each of ``world`` ranks uses a contiguous slice of it. So step t has the same samples for any number of workers, resumed
or not.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple, TypeVar

import numpy as np

T = TypeVar("T")


class Draw(NamedTuple):
    """Sample index ``sample``, as drawn in ``epoch``."""

    epoch: int
    sample: int


@dataclass(frozen=True)
class Schedule:
    """The samples of every step.

    samples: size of the data set. batch_size: of the global batch. rank, world: this worker and the number of workers.
    """

    samples: int
    batch_size: int
    seed: int
    rank: int = 0
    world: int = 1

    def __post_init__(self) -> None:
        if self.samples < 1 or self.batch_size < 1:
            raise ValueError(f"{self}: needs at least one sample and a batch of at least one")
        if not 0 <= self.rank < self.world <= self.batch_size:
            raise ValueError(f"{self}: rank must be below world, and every worker needs a sample of each batch")

    @property
    def offset(self) -> int:
        """Index of this rank's first sample in every global batch."""
        return self.batch_size * self.rank // self.world

    def step(self, step: int) -> list[Draw]:
        """This rank's slice of the global batch of ``step``; a batch may span epochs."""
        first = step * self.batch_size + self.offset
        last = step * self.batch_size + self.batch_size * (self.rank + 1) // self.world
        draws = []
        for position in range(first, last):
            epoch, offset = divmod(position, self.samples)
            draws.append(Draw(epoch, int(epoch_order(self.samples, self.seed, epoch)[offset])))
        return draws


@lru_cache(maxsize=4)
def epoch_order(samples: int, seed: int, epoch: int) -> np.ndarray:
    """The permutation of 0 … samples - 1 of an epoch; read-only."""
    order = np.random.default_rng([seed, epoch]).permutation(samples)
    order.flags.writeable = False
    return order


def prefetch(load: Callable[[int], T], start: int, depth: int = 3) -> Iterator[T]:
    """Yields ``load(start)``, ``load(start + 1)``, … endlessly; a background thread works up to ``depth`` items ahead.

    An exception of ``load`` is raised at the item's turn. The thread ends when the iterator is closed.
    """
    closed = threading.Event()
    ready: queue.Queue[tuple[T | None, BaseException | None]] = queue.Queue(maxsize=depth)

    def work() -> None:
        step = start
        while not closed.is_set():
            try:
                entry: tuple[T | None, BaseException | None] = (load(step), None)
            except BaseException as error:
                entry = (None, error)
            while not closed.is_set():
                try:
                    ready.put(entry, timeout=0.1)
                    break
                except queue.Full:
                    continue
            if entry[1] is not None:
                return
            step += 1

    thread = threading.Thread(target=work, name="prefetch", daemon=True)
    thread.start()
    try:
        while True:
            item, error = ready.get()
            if error is not None:
                raise error
            yield item  # type: ignore[misc]
    finally:
        closed.set()
        thread.join()
