"""In which order the sources are used: at random, and so that the sources of a shard lie in few row groups.

A source is read with its whole row group. Sources that an actor keeps in memory together are permuted as a whole. If
there are more, every pass over them deals the row groups to *windows* at random and visits the windows in turn, round
after round: each time a window gives some of its sources, few enough that a dataset smaller than a pass is spread over
many windows, and enough that reading the window pays. What is in memory grows with the row groups, not with the
sources, of which there may be hundreds of millions.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Protocol

import numpy as np

from jr2net.data.sources import KEPT_BYTES, Sources

WINDOW_BYTES = 8 << 20
"""Bytes of a window, or more if a row group has more."""

BYTES_PER_SOURCE = 1 << 18
"""Bytes of a window for each source that it gives at a visit."""

_WINDOWS_KEPT = 64  # orders of windows in memory


class Pass(Protocol):
    """From a position in a pass over the sources, below their number, to the source's number."""

    def __call__(self, position: int) -> int: ...


class SourceOrder:
    """The order of every pass over some sources, known by the row groups in which they lie.

    starts (groups + 1,)  number of the first source of every group, and of all sources
    sizes (groups,)       bytes of every group
    """

    def __init__(self, starts: np.ndarray, sizes: np.ndarray) -> None:
        self.starts, self.sizes = starts, sizes
        self.in_one_window = int(sizes.sum()) <= KEPT_BYTES
        self._passes = lru_cache(maxsize=4)(self._pass)

    @staticmethod
    def of(sources: Sources) -> SourceOrder:
        return SourceOrder(*sources.groups())

    def __len__(self) -> int:
        """Number of sources."""
        return int(self.starts[-1])

    def __call__(self, *key: int) -> Pass:
        """The pass of these numbers; it has every source once."""
        return self._passes(key)

    def _pass(self, key: tuple[int, ...]) -> Pass:
        if self.in_one_window:
            order = np.random.default_rng(key).permutation(len(self))
            return lambda position: int(order[position])
        return _Visits(self.starts, self.sizes, key)


class _Visits:
    """A pass that visits windows in turn. key: of the pass; others as of ``SourceOrder``."""

    def __init__(self, starts: np.ndarray, sizes: np.ndarray, key: tuple[int, ...]) -> None:
        self._starts, self._key = starts, key
        self._groups = np.random.default_rng(key).permutation(len(sizes))  # window by window
        sizes = sizes[self._groups]
        _, first = np.unique((np.cumsum(sizes) - sizes) // WINDOW_BYTES, return_index=True)
        self._bounds = np.append(first, len(sizes))  # of the groups of every window
        self._counts = np.add.reduceat(np.diff(starts)[self._groups], first)  # sources of every window
        self._shares = np.maximum(np.add.reduceat(sizes, first) // BYTES_PER_SOURCE, 1)  # what it gives at a visit
        self._rounds = np.append(0, np.cumsum(self._given_by_round()))  # positions at which they begin
        self._ends = lru_cache(maxsize=2)(self._ends_of_visits)
        self._sources = lru_cache(maxsize=_WINDOWS_KEPT)(self._sources_of)

    def __call__(self, position: int) -> int:
        visit = int(np.searchsorted(self._rounds, position, side="right")) - 1
        place, ends = position - int(self._rounds[visit]), self._ends(visit)
        window = int(np.searchsorted(ends, place, side="right"))
        given = visit * int(self._shares[window]) + place - (int(ends[window - 1]) if window else 0)
        return int(self._sources(window)[given])

    def _given_by_round(self) -> np.ndarray:
        """How many sources all windows together give in every round."""
        whole, rest = np.divmod(self._counts, self._shares)  # visits that give a whole share, and what the next gives
        given = np.bincount(whole, rest)
        given[:-1] += np.cumsum(np.bincount(whole, self._shares)[::-1])[::-1][1:]  # of windows with more whole visits
        return given.astype(np.int64)

    def _ends_of_visits(self, visit: int) -> np.ndarray:
        """(windows,) how many sources the windows up to each one give in a round."""
        return np.cumsum(np.clip(self._counts - visit * self._shares, 0, self._shares))

    def _sources_of(self, window: int) -> np.ndarray:
        """The numbers of a window's sources, in the order in which it gives them."""
        groups = self._groups[self._bounds[window] : self._bounds[window + 1]]
        sources = np.concatenate([np.arange(self._starts[group], self._starts[group + 1]) for group in groups])
        return np.random.default_rng((*self._key, window)).permutation(sources)
