"""Reads the runs of windows on several threads before they are needed, and keeps them while a window has them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar
from weakref import WeakValueDictionary

from jr2net.data.lanes import Window

R = TypeVar("R")

READERS = 8
"""Threads that read: requests to S3 take tens of milliseconds, whatever their size."""


class RunReader(Generic[R]):
    """read: from the number of a run to its content; called on ``threads`` threads. Not thread-safe itself."""

    def __init__(self, read: Callable[[int], R], threads: int = READERS) -> None:
        self._read = read
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="read")
        self._runs: WeakValueDictionary[int, Future[R]] = WeakValueDictionary()  # of windows that are in use

    def open(self, windows: Sequence[Window]) -> None:
        """Fills the ``contents`` of windows that are not open yet; runs are read in the order of need."""
        new = [window for window in windows if not window.contents]
        needs = [(position, number, run) for number, window in enumerate(new) for position, run in window.needs()]
        for _, number, run in sorted(needs):
            new[number].contents[run] = self._request(run)

    def close(self) -> None:
        """Reads nothing more."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _request(self, run: int) -> Future[R]:
        future = self._runs.get(run)
        if future is None:
            future = self._pool.submit(self._read, run)
            self._runs[run] = future
        return future
