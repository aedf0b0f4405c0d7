"""How rows of clip shards are read: in runs of consecutive row groups, each with one request."""

from __future__ import annotations

import numpy as np

from jr2net.data.index import ClipIndex

RUN_BYTES = 1 << 21
"""Least length of a run, if its shard is as long. It decides the order of samples: no setting of a machine."""

FOOTERS = 16
"""A run is at least so many times as long as its shard's footer, which has to be read for it if it is not kept."""

_LONGEST = 8
"""A run that would end within a clip goes on to the clip's end, up to so many times its least length."""


class ClipRuns:
    """The runs of an index (``Runs`` of ``data/lanes.py``); samples are its frames.

    rows    (runs + 1,) first row of every run
    groups  (runs, 2) first row group of every run, and the first one after it
    sizes   (runs,) bytes of every run
    """

    def __init__(self, index: ClipIndex, run_bytes: int = RUN_BYTES) -> None:
        self.index = index
        shard, group = index.shard, index.group
        new = np.flatnonzero((np.diff(shard, prepend=-1) != 0) | (np.diff(group, prepend=-1) != 0))
        beginnings = _beginnings(index, new, run_bytes)
        first = new[beginnings]  # first row of every run
        sizes = index.group_bytes[new]
        self.sizes = np.add.reduceat(sizes, np.flatnonzero(beginnings)) if len(new) else sizes
        self.bytes = int(sizes.sum())
        self.rows = np.append(first, len(index))
        self.groups = np.stack([group[first], group[self.rows[1:] - 1] + 1], 1)

    @property
    def samples(self) -> int:
        return int(self.index.starts[-1])

    def __len__(self) -> int:
        return len(self.groups)

    def spans(self, runs: np.ndarray) -> np.ndarray:
        starts = self.index.starts
        return np.stack([starts[self.rows[runs]], starts[self.rows[runs + 1]]], -1)

    def original(self, runs: np.ndarray) -> np.ndarray:
        """As ``RepeatedRuns``, which has copies: the runs themselves."""
        return runs

    def frame(self, sample: int) -> int:
        """The number of the frame that a sample is: its own."""
        return sample

    def run_rows(self, run: int) -> np.ndarray:
        """The numbers of a run's rows."""
        return np.arange(self.rows[run], self.rows[run + 1])

    def find(self, row: int) -> tuple[int, int]:
        """The run of a row, and the row's position in it."""
        run = int(np.searchsorted(self.rows, row, side="right")) - 1
        return run, row - int(self.rows[run])

    def of_rows(self, rows: np.ndarray) -> np.ndarray:
        """The run of each row."""
        return np.searchsorted(self.rows, rows, side="right") - 1


def _beginnings(index: ClipIndex, new: np.ndarray, run_bytes: int) -> np.ndarray:
    """Whether a run begins with each row group; ``new``: the first row of every group."""
    if not len(new):
        return np.zeros(0, bool)
    shard, group, size = index.shard[new], index.group[new], index.group_bytes[new]
    apart = np.append(True, (np.diff(shard) != 0) | (np.diff(group) != 1))
    offset = np.cumsum(size) - size
    offset -= np.maximum.accumulate(np.where(apart, offset, 0))  # from the latest group that others do not precede
    least = np.maximum(run_bytes, FOOTERS * index.footer_bytes[new].astype(np.int64))
    part, stretch = offset // least, offset // (_LONGEST * least)
    within = np.append(False, index.clip[new[1:]] == index.clip[new[1:] - 1])  # a clip goes on from the group before
    changes = np.append(True, np.diff(part) != 0) & (~within | np.append(True, np.diff(stretch) != 0))
    return apart | changes
