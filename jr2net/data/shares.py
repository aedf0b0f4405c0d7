"""Sets of clips whose samples come in given proportions.

An epoch has every frame of a set as often as the proportions ask for, a whole number of times. So the order of samples
stays what it is for one set (``data/lanes.py``): a function of the seed, the step and the size of the global batch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from jr2net.data.index import ClipIndex
from jr2net.data.runs import ClipRuns
from jr2net.storage import base_name, join

TOLERANCE = 0.02
"""Relative error of a set's share that is small enough."""

_MOST_PASSES = 16
"""An epoch has the frames of the least repeated set at most so many times."""


def copies_for(frames: Sequence[int], weights: Sequence[float]) -> list[int]:
    """How many times an epoch has the frames of each set, so that its samples come in the proportions ``weights``.

    frames: numbers of frames. The epoch is as short as a relative error of 2 % in each share allows.
    """
    rate = np.asarray(weights, np.float64) / np.asarray(frames, np.float64)
    rate /= rate.min()
    wanted = np.asarray(weights, np.float64) / np.sum(weights)
    best, smallest = np.ones(len(frames), np.int64), np.inf
    for passes in range(1, _MOST_PASSES + 1):
        copies = np.maximum(1, np.rint(passes * rate)).astype(np.int64)
        samples = copies * np.asarray(frames)
        error = float(np.abs(samples / samples.sum() / wanted - 1).max())
        if error < smallest:
            best, smallest = copies, error
        if error <= TOLERANCE:
            break
    return best.tolist()


class RepeatedRuns:
    """The runs of ``ClipRuns``, of which an epoch has some several times (``Runs`` of ``data/lanes.py``).

    copies: (runs,) of each. Samples of every copy have numbers of their own, the first copies of all runs before the
    second ones, so that a repeated frame is augmented anew.
    """

    def __init__(self, runs: ClipRuns, copies: np.ndarray) -> None:
        self.runs = runs
        repeated = np.repeat(np.arange(len(runs)), copies)
        copy = np.arange(len(repeated)) - np.repeat(np.cumsum(copies) - copies, copies)
        self._run = repeated[np.lexsort((repeated, copy))]
        self._first = runs.spans(np.arange(len(runs)))  # frames of every run
        lengths = (self._first[:, 1] - self._first[:, 0])[self._run]
        self._starts = np.append(0, np.cumsum(lengths))
        self.bytes = int((runs.sizes * copies).sum())

    @property
    def samples(self) -> int:
        return int(self._starts[-1])

    def __len__(self) -> int:
        return len(self._run)

    def spans(self, runs: np.ndarray) -> np.ndarray:
        return np.stack([self._starts[runs], self._starts[np.asarray(runs) + 1]], -1)

    def original(self, runs: np.ndarray) -> np.ndarray:
        """The runs of ``ClipRuns`` that these are copies of."""
        return self._run[runs]

    def frame(self, sample: int) -> int:
        """The number of the frame that a sample is."""
        copy = int(np.searchsorted(self._starts, sample, side="right")) - 1
        return int(self._first[self._run[copy], 0]) + sample - int(self._starts[copy])


def repeated_runs(index: ClipIndex, runs: ClipRuns, weights: Mapping[str, float]) -> RepeatedRuns:
    """The runs of several sets in the proportions of their weights; weights: by the folder, URI or file of a set.

    Sets of which the index has no row are left out of the proportions.
    """
    uris = list(weights)
    names = {int(number): index.shard_uri(number) for number in np.unique(index.shard)}
    member = {number: next(k for k, uri in enumerate(uris) if _lies_in(name, uri)) for number, name in names.items()}
    of_run = np.array([member[int(number)] for number in index.shard[runs.rows[:-1]]])
    spans = runs.spans(np.arange(len(runs)))
    frames = np.bincount(of_run, spans[:, 1] - spans[:, 0], len(uris)).astype(np.int64)
    present = np.flatnonzero(frames)
    copies = np.zeros(len(uris), np.int64)
    copies[present] = copies_for(frames[present].tolist(), [weights[uris[k]] for k in present])
    return RepeatedRuns(runs, copies[of_run])


def _lies_in(shard: str, uri: str) -> bool:
    """Whether a shard is the file ``uri`` or lies in that folder."""
    return shard in (uri, join(uri, base_name(shard)))
