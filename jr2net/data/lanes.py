"""Which samples make up every batch: a pure function of the seed, the step and the size of the global batch.

Samples are stored in *runs*, each of which is read at once. Epoch after epoch, the runs are permuted and dealt to the
*lanes* like cards to players; the places of the global batch draw from the lanes. A lane reads its runs some at a time:
such a *window* is its shuffle buffer, and its samples are drawn in random order. Every lane has the same number of
places, as a rule one, and a worker needs the runs of its own places alone. A data set that is small enough is one
window of one lane, which makes the order of an epoch a uniform permutation of all samples.

Every epoch has every sample once. Lanes begin their epochs independently of each other, since runs differ in length.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple, Protocol

import numpy as np

from jr2net.data.permutation import Permutation

SHUFFLE_BYTES = 1 << 30
"""Bytes of all windows of the global batch at one time. It decides the order of samples: no setting of a machine."""

_WINDOWS_SOUGHT = 1024
"""Windows that are looked at together in search of a position."""


class Runs(Protocol):
    """The runs of a data set. ``samples``, ``bytes``: of all runs together."""

    @property
    def samples(self) -> int: ...

    @property
    def bytes(self) -> int: ...

    def __len__(self) -> int: ...

    def spans(self, runs: np.ndarray) -> np.ndarray:
        """(..., 2) int64: the first sample of each run, and the first one after it, of an array of numbers of runs."""
        ...


@dataclass(frozen=True, eq=False)
class Window:
    """A part of a lane's sequence.

    epoch, number  the epoch, and the window's number in the lane's part of it
    first          position in the lane's endless sequence of its first sample
    runs           its runs, ascending
    starts         the first sample of each run
    samples        its samples, in the order in which they are drawn
    contents       the runs' contents, if a reader has opened the window
    """

    epoch: int
    number: int
    first: int
    runs: np.ndarray
    starts: np.ndarray
    samples: np.ndarray
    contents: dict[int, Future[Any]] = field(default_factory=dict)

    @property
    def last(self) -> int:
        """The position after its last sample."""
        return self.first + len(self.samples)

    def find(self, sample: int) -> tuple[int, int]:
        """The run of one of its samples, and the sample's position in it."""
        index = int(np.searchsorted(self.starts, sample, side="right")) - 1
        return int(self.runs[index]), sample - int(self.starts[index])

    def needs(self) -> list[tuple[int, int]]:
        """(position at which it is needed first, run) of every run."""
        used, index = np.unique(np.searchsorted(self.starts, self.samples, side="right") - 1, return_index=True)
        return [(self.first + first, run) for first, run in zip(index.tolist(), self.runs[used].tolist())]


_NONE = Window(0, 0, 0, runs=np.zeros(0, int), starts=np.zeros(0, int), samples=np.zeros(0, int))


class Draw(NamedTuple):
    """Sample number ``sample`` in the order of the shards, as drawn in ``epoch`` from ``window``."""

    epoch: int
    sample: int
    window: Window


class Lanes:
    """The samples of every step, for one of ``world`` workers.

    batch_size: of the global batch, of which worker ``rank`` has a contiguous part. Not thread-safe.
    """

    def __init__(
        self, runs: Runs, batch_size: int, seed: int, rank: int = 0, world: int = 1, shuffle_bytes: int = SHUFFLE_BYTES
    ) -> None:
        if not len(runs) or batch_size < 1 or not 0 <= rank < world <= batch_size:
            raise ValueError(
                f"lanes of {len(runs)} runs for worker {rank} of {world}, batch {batch_size}: needs at least one run, "
                "a rank below world, and a sample of each batch for every worker"
            )
        self.batch_size = batch_size
        self.in_one_window = runs.bytes <= shuffle_bytes
        limit = 1 if self.in_one_window else len(runs)
        self.count = max(lanes for lanes in range(1, batch_size + 1) if batch_size % lanes == 0 and lanes <= limit)
        buffered = len(runs) * shuffle_bytes / max(runs.bytes, 1) / self.count  # runs of mean size
        window_runs = len(runs) if self.in_one_window else max(1, round(buffered))
        self.offset = batch_size * rank // world
        self._end = batch_size * (rank + 1) // world
        self._places = batch_size // self.count  # of each lane
        used = range(self.offset // self._places, (self._end - 1) // self._places + 1)
        self._lanes = {lane: _Lane(runs, seed, lane, self.count, window_runs) for lane in used}

    def step(self, step: int) -> list[Draw]:
        """This worker's part of the global batch of ``step``."""
        draws = []
        for place in range(self.offset, self._end):
            lane, seat = divmod(place, self._places)
            position = step * self._places + seat
            window = self._lanes[lane].window(position)
            draws.append(Draw(window.epoch, int(window.samples[position - window.first]), window))
        return draws

    def windows(self) -> list[Window]:
        """The windows from which this worker draws after the latest ``step``: the present ones, then those to come."""
        return [lane.present for lane in self._lanes.values()] + [lane.next for lane in self._lanes.values()]


class _Lane:
    """One lane's endless sequence of windows, of which two are kept: ``present`` and ``next``."""

    def __init__(self, runs: Runs, seed: int, number: int, count: int, window_runs: int) -> None:
        self.runs, self.seed, self.number, self.count, self.window_runs = runs, seed, number, count, window_runs
        self.present = self.next = _NONE
        self._permutation = lru_cache(maxsize=2)(lambda epoch: Permutation(len(runs), seed, epoch))

    def window(self, position: int) -> Window:
        """The window of a position, which is ``present`` from then on; cheap if it was before, or is the next one."""
        if self.present.last <= position < self.next.last:
            self.present, self.next = self.next, self._after(self.next)
        elif not self.present.first <= position < self.present.last:
            self.present = self._window(*self._find(position))
            self.next = self._after(self.present)
        return self.present

    def _find(self, position: int) -> tuple[int, int, int]:
        """(epoch, number, first position) of the window that holds a position."""
        epoch = position // self.runs.samples if self.count == 1 else 0  # one lane has all samples in every epoch
        first = epoch * self.runs.samples if self.count == 1 else 0
        while True:
            for number, length in self._lengths(epoch):
                if position < first + length:
                    return epoch, number, first
                first += length
            epoch += 1

    def _lengths(self, epoch: int) -> Iterator[tuple[int, int]]:
        """(number, number of samples) of every window of an epoch."""
        windows = self._windows(epoch)
        for window in range(0, windows, _WINDOWS_SOUGHT):
            bounds = self._bounds(epoch, window, min(window + _WINDOWS_SOUGHT, windows))
            spans = self.runs.spans(self._dealt(epoch, bounds[0], bounds[-1]))
            lengths = np.add.reduceat(spans[:, 1] - spans[:, 0], bounds[:-1] - bounds[0])
            yield from ((window + number, int(length)) for number, length in enumerate(lengths))

    def _window(self, epoch: int, number: int, first: int) -> Window:
        runs = np.sort(self._dealt(epoch, *self._bounds(epoch, number, number + 1)))
        spans = self.runs.spans(runs)
        samples = np.concatenate([np.arange(start, end) for start, end in spans])
        order = np.random.default_rng([self.seed, epoch, self.number, number]).permutation(len(samples))
        return Window(epoch, number, first, runs, spans[:, 0], samples[order])

    def _after(self, window: Window) -> Window:
        if window.number + 1 < self._windows(window.epoch):
            return self._window(window.epoch, window.number + 1, window.last)
        return self._window(window.epoch + 1, 0, window.last)

    def _cards(self, epoch: int) -> range:
        """The positions in an epoch's permutation that are this lane's. Dealing goes on where the last epoch ended."""
        return range((self.number - epoch * len(self.runs)) % self.count, len(self.runs), self.count)

    def _windows(self, epoch: int) -> int:
        return -(-len(self._cards(epoch)) // self.window_runs)

    def _bounds(self, epoch: int, first: int, last: int) -> np.ndarray:
        """Where windows ``first`` to ``last`` begin among the lane's cards; all windows are nearly equally long."""
        return len(self._cards(epoch)) * np.arange(first, last + 1) // self._windows(epoch)

    def _dealt(self, epoch: int, first: int, last: int) -> np.ndarray:
        """The runs on the lane's cards from ``first`` up to ``last``."""
        cards = self._cards(epoch)
        return self._permutation(epoch)(cards.start + self.count * np.arange(first, last))
