"""Endless streams of batches that are made ahead of their use, by several threads and in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache
from itertools import count
from typing import TypeVar

import numpy as np

P = TypeVar("P")
T = TypeVar("T")


@lru_cache(maxsize=4)
def epoch_order(samples: int, seed: int, epoch: int) -> np.ndarray:
    """The permutation of 0 … samples - 1 of an epoch; read-only."""
    order = np.random.default_rng([seed, epoch]).permutation(samples)
    order.flags.writeable = False
    return order


def prefetch(
    plan: Callable[[int], P], make: Callable[[P], T], start: int, threads: int = 1, depth: int = 3
) -> Iterator[T]:
    """Yields ``make(plan(start))``, ``make(plan(start + 1))``, … endlessly.

    Items are planned in order on the calling thread, and made on ``threads`` others, up to ``depth`` items and one a
    thread ahead. An exception of ``make`` is raised at the item's turn. The threads end when the iterator is closed.
    """
    pool = ThreadPoolExecutor(threads, thread_name_prefix="prefetch")
    ahead: deque[Future[T]] = deque()
    try:
        for step in count(start):
            ahead.append(pool.submit(make, plan(step)))
            if len(ahead) > depth + threads - 1:
                yield ahead.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
