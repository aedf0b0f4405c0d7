"""Runs of any number without shards."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


class SyntheticRuns:
    """Runs of given lengths; every sample has one byte."""

    def __init__(self, lengths: Sequence[int] | np.ndarray) -> None:
        self.starts = np.append(0, np.cumsum(lengths, dtype=np.int64))

    @property
    def samples(self) -> int:
        return int(self.starts[-1])

    bytes = samples

    def __len__(self) -> int:
        return len(self.starts) - 1

    def spans(self, runs: np.ndarray) -> np.ndarray:
        return np.stack([self.starts[runs], self.starts[runs + 1]], -1)
