"""In which order the sources are used: at random, and so that the sources of a shard lie in few row groups.

A source is read with its whole row group. Sources that an actor keeps in memory together are permuted as a whole. If
there are more, every pass over them deals the row groups to *windows* at random and visits the windows in turn, again
and again: each time a window gives some of its sources, few enough that a dataset smaller than a pass is spread over
many windows, and enough that reading the window pays.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from jr2net.data.sources import KEPT_BYTES, Sources

WINDOW_BYTES = 8 << 20
"""Bytes of a window, or more if a row group has more."""

BYTES_PER_SOURCE = 1 << 18
"""Bytes of a window for each source that it gives at a visit."""


class SourceOrder:
    """The order of every pass over some sources, known by the row groups in which they lie.

    starts (groups + 1,)  number of the first source of every group, and of all sources
    sizes (groups,)       bytes of every group
    """

    def __init__(self, starts: np.ndarray, sizes: np.ndarray) -> None:
        self.starts, self.sizes = starts, sizes
        self.in_one_window = int(sizes.sum()) <= KEPT_BYTES
        self._passes = lru_cache(maxsize=4)(self._order)

    @staticmethod
    def of(sources: Sources) -> SourceOrder:
        return SourceOrder(*sources.groups())

    def __len__(self) -> int:
        """Number of sources."""
        return int(self.starts[-1])

    def __call__(self, *key: int) -> np.ndarray:
        """The numbers of all sources, each once, in the order of the pass of these numbers; read-only."""
        return self._passes(key)

    def _order(self, key: tuple[int, ...]) -> np.ndarray:
        rng = np.random.default_rng(key)
        order = rng.permutation(len(self))
        if not self.in_one_window:
            order = self._by_visits(order, rng.permutation(len(self.sizes)))
        order.flags.writeable = False
        return order

    def _by_visits(self, order: np.ndarray, groups: np.ndarray) -> np.ndarray:
        """``order``, window by window and visit by visit. groups: in the order in which they are dealt to windows."""
        ends = np.cumsum(self.sizes[groups])
        dealt = np.unique((ends - self.sizes[groups]) // WINDOW_BYTES, return_inverse=True)[1]
        visit_sources = np.maximum(np.bincount(dealt, self.sizes[groups]) // BYTES_PER_SOURCE, 1).astype(np.int64)
        window_of_group = np.empty(len(groups), np.int64)
        window_of_group[groups] = dealt
        window = window_of_group[np.searchsorted(self.starts, order, side="right") - 1]
        by_window = np.argsort(window, kind="stable")
        window = window[by_window]
        rank = np.arange(len(window)) - np.searchsorted(window, window)
        return order[by_window][np.lexsort((window, rank // visit_sources[window]))]
