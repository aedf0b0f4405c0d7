"""What the loaders of clips and of pairs have in common: lanes, reading ahead, making batches on several threads."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import torch

from jr2net.data.lanes import SHUFFLE_BYTES, Draw, Lanes, Runs
from jr2net.data.reader import RunReader
from jr2net.data.stream import prefetch
from jr2net.data.transfer import Transfer

Batch = dict[str, Any]


class LaneLoader(ABC):
    """An endless data loader of this rank's part of every global batch, from ``start_step`` on.

    The global batch of step t depends on the data, ``seed``, ``batch_size`` and t alone. Iterating makes batches ahead
    on ``threads`` threads, and copies them to ``device``; ``batch`` makes one on the calling thread, on the CPU.
    """

    def __init__(
        self,
        runs: Runs,
        *,
        seed: int,
        batch_size: int,
        rank: int,
        world: int,
        start_step: int,
        threads: int,
        device: torch.device | str,
        shuffle_bytes: int = SHUFFLE_BYTES,
    ) -> None:
        self.seed, self.start_step = seed, start_step
        self._threads, self._device = threads, device
        self._begin = partial(Lanes, runs, batch_size, seed, rank, world, shuffle_bytes)
        self.lanes, self._reader = self._begin(), RunReader(self._read)
        self._planning = threading.Lock()

    def __iter__(self) -> Iterator[Batch]:
        transfer = Transfer(self._device)
        stream = prefetch(
            self._plan, lambda draws: transfer.begin(self._make(draws)), self.start_step, threads=self._threads
        )
        try:
            for copied in stream:
                yield transfer.finish(copied)
        finally:
            stream.close()  # type: ignore[attr-defined]
            self._reader.close()
            self.lanes, self._reader = self._begin(), RunReader(self._read)  # for whoever iterates again

    def batch(self, step: int) -> Batch:
        """The batch of one step, made on the calling thread."""
        return self._make(self._plan(step))

    def _plan(self, step: int) -> list[Draw]:
        with self._planning:
            draws = self.lanes.step(step)
            self._reader.open(list(dict.fromkeys([draw.window for draw in draws] + self.lanes.windows())))
            return draws

    @abstractmethod
    def _read(self, run: int) -> Any:
        """The content of a run; called on the reader's threads."""

    @abstractmethod
    def _make(self, draws: Sequence[Draw]) -> Batch:
        """The batch of some draws, from windows that are open."""
